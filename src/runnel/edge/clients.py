"""What a connection tells of the program behind it."""

from typing import Final

from starlette.requests import HTTPConnection

from runnel.chat.sessions.values import ClientInfo
from runnel.chat.text import clean

_MOST_OF_AN_ADDRESS: Final = 64  # characters; a trusted proxy sends on whatever it was sent
_MOST_OF_A_USER_AGENT: Final = 256  # characters
_MOST_OF_A_VERSION: Final = 64  # same


def client_of(connection: HTTPConnection) -> ClientInfo:
    headers = connection.headers
    return ClientInfo(
        user_agent=_bounded(headers.get("user-agent"), _MOST_OF_A_USER_AGENT),
        ip_address=_bounded(connection.client and connection.client.host, _MOST_OF_AN_ADDRESS),
        client_version=_bounded(headers.get("x-client-version"), _MOST_OF_A_VERSION),
    )


def _bounded(text: str | None, most: int) -> str | None:
    return clean(text)[:most] if text else None
