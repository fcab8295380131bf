"""What the doors are given to work with; the composition root puts it together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from runnel.accounts.connections import Connections
from runnel.accounts.managing import Managing
from runnel.accounts.service import Accounts
from runnel.accounts.tickets import Tickets
from runnel.accounts.watch import Watch
from runnel.chat.attachments.service import Attachments
from runnel.chat.channels import Channels
from runnel.chat.model_ports import Catalog
from runnel.chat.overviews import Overviews
from runnel.chat.reports import Reports
from runnel.chat.service import ChatService
from runnel.chat.sessions.exporting import Exporting
from runnel.chat.sessions.purging import Purging
from runnel.chat.sessions.service import Sessions
from runnel.edge.limits import Limiter
from runnel.edge.sockets import Sockets
from runnel.settings import Settings
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts. `checks` are the components of /readyz, each raising if it is not well.

    `reload_models` reads models.json anew and says, a line each, which aliases cannot be asked;
    it raises StartupError for a bad file, and leaves all as it was. `traced` puts the application
    into what traces it, if anything does.
    """

    settings: Settings
    chat: ChatService
    sessions: Sessions
    purging: Purging
    accounts: Accounts
    managing: Managing
    tickets: Tickets
    watch: Watch
    catalog: Catalog
    limiter: Limiter
    attachments: Attachments
    exporting: Exporting
    channels: Channels
    connections: Connections
    sockets: Sockets
    metrics: Metrics
    traffic: Traffic
    reports: Reports
    overviews: Overviews
    started_at: datetime
    traced: Callable[[ASGIApp], ASGIApp]
    reload_models: Callable[[], Awaitable[Sequence[str]]]
    checks: Mapping[str, Callable[[], Awaitable[None]]]


def parts_of(connection: HTTPConnection) -> Parts:
    parts = connection.app.state.parts
    assert isinstance(parts, Parts)
    return parts
