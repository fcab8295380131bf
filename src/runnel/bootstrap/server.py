"""A server with all its parts: opened in their order, and closed in the opposite one."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from runnel.accounts.administration import Administration
from runnel.accounts.watch import Watch
from runnel.bootstrap.accounts import judge_admin_password, open_accounts
from runnel.bootstrap.answers import build_answers
from runnel.bootstrap.background import running as in_background
from runnel.bootstrap.control import open_control
from runnel.bootstrap.database import open_database
from runnel.bootstrap.files import files_of, open_kinds
from runnel.bootstrap.models import open_catalog
from runnel.bootstrap.streams import open_streams
from runnel.chat.attachments.service import Attachments
from runnel.chat.channels import Channels
from runnel.chat.entities import Generation
from runnel.chat.orders import Order, Revoked
from runnel.chat.ports import StreamLog
from runnel.chat.sessions.cleaning import CleanUp
from runnel.chat.sessions.exporting import Exporting
from runnel.chat.sessions.purging import Purging
from runnel.chat.sessions.service import Sessions
from runnel.chat.sessions.titles import Titles
from runnel.configs import (
    attachment_rules,
    bounds_of,
    clean_up_rules,
    socket_bounds,
    telemetry_config,
)
from runnel.edge.limits import Limiter, Windows
from runnel.edge.parts import Parts
from runnel.edge.sockets import Sockets
from runnel.secret_values import reveal
from runnel.settings import Settings
from runnel.store.attachments import SqlAttachments
from runnel.store.channels import SqlChannels
from runnel.store.chat import ChatStore
from runnel.store.cleaning import SqlCleaning
from runnel.store.engine import Database
from runnel.store.exporting import SqlExports
from runnel.store.ids import new_id, now
from runnel.store.indexing import Indexing
from runnel.store.lock import ServerLock, server_lock
from runnel.store.migrate import migrate
from runnel.store.overviews import SqlOverviews
from runnel.store.purging import SqlPurging
from runnel.store.session_store import SqlSessions
from runnel.store.titles import SqlTitles
from runnel.store.usage import SqlReports
from runnel.telemetry.observers import Observers
from runnel.telemetry.opening import Telemetry, open_telemetry

_log = structlog.stdlib.get_logger()
#: How long closing what a disabled user reads waits for its answers to end, twice at most.
_DISABLED_ABORT_SECONDS: Final = 1.0
#: How many questions are looked up at a time.
_ROWS_A_LOOK: Final = 500


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs. `new_admin_password` is set once, when the first admin was made.

    `is_quiet`: no answer is being made or followed.
    """

    parts: Parts
    administration: Administration
    new_admin_password: str | None
    is_quiet: Callable[[], bool]

    async def drain(self) -> None:
        """Takes no more questions; gives what runs the grace, then interrupts it.

        A socket is closed as soon as it is told no answer any more.
        """
        self.parts.sockets.begin_closing()
        await self.parts.chat.drain(self.parts.settings.shutdown_grace_seconds)
        await self.parts.sockets.close()


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncGenerator[Server]:
    """Opens the database, takes its lock, cleans up after a crash, and starts what runs by itself.

    Raises StartupError. Nothing is left behind, however it is left.
    """
    async with AsyncExitStack() as stack:
        catalog = await stack.enter_async_context(open_catalog(settings))
        database = await stack.enter_async_context(open_database(settings))
        lock = server_lock(database, many=bool(settings.redis_url))
        stack.push_async_callback(lock.release)
        await lock.acquire()
        await migrate(database)
        judge_admin_password(settings)
        telemetry = await stack.enter_async_context(open_telemetry(telemetry_config(settings)))
        owner = new_id()
        control = await stack.enter_async_context(open_control(settings, owner))
        who = await stack.enter_async_context(
            open_accounts(
                settings,
                database,
                spent=control.spent,
                announce=lambda: control.orders.publish(Revoked()),
            )
        )
        indexing = Indexing(database)
        store = ChatStore(
            database,
            indexing,
            history_max_messages=settings.history_max_messages,
            lease_seconds=settings.lease_seconds if settings.redis_url else None,
        )
        reports = SqlReports(database)
        metrics, observers = telemetry.metrics, telemetry.observers
        if settings.title_model is not None:
            titles = Titles(
                SqlTitles(database, indexing),
                catalog,
                settings.title_model,
                bounds_of(settings),
                seconds=settings.title_seconds,
            )
            stack.push_async_callback(titles.close)
            observers = Observers(observers, titles.ended)
        if not settings.redis_url:  # else they may be another instance's
            crashed = await store.interrupt_left_running(catalog.priced)
            metrics.interrupted("crash", len(crashed))
            await _tell_of_crashed(telemetry, crashed, reports)
        log = await stack.enter_async_context(open_streams(settings))
        files = files_of(settings)
        answers = build_answers(
            settings,
            owner=owner,
            database=database,
            store=store,
            catalog=catalog,
            files=files,
            log=log,
            control=control,
            observer=observers,
        )
        chat, running = answers.chat, answers.running
        metrics.gauge("running_generations", "Answers being made.", lambda: len(running))
        metrics.gauge("attached_readers", "Who follows an answer.", lambda: len(answers.followers))
        metrics.gauge("log_bytes", "What the stream logs hold.", lambda: log.size)
        stack.push_async_callback(running.close)
        bus = control.bus
        channels = Channels(
            SqlChannels(database), bus, heartbeat_seconds=settings.heartbeat_seconds, clock=now
        )
        attachments = Attachments(
            SqlAttachments(database),
            files,
            stack.enter_context(open_kinds(settings)),
            attachment_rules(settings),
            new_id=new_id,
            clock=now,
        )
        sockets = Sockets(socket_bounds(settings))
        sessions = SqlSessions(
            database, indexing, idle_seconds=settings.session_idle_seconds, clock=now
        )
        purging = Purging(
            SqlPurging(database),
            running,
            answers.aborting,
            log,
            bus,
            files=files,
            texts=telemetry.texts,
            clock=now,
        )
        stack.push_async_callback(purging.close)
        clean_up = CleanUp(
            SqlCleaning(database),
            purging,
            attachments,
            clean_up_rules(settings),
            every_seconds=settings.clean_up_seconds,
            clock=now,
        )
        watch = Watch(
            who.store,
            check_seconds=settings.revocation_check_seconds,
            clock=now,
            on_user_disabled=lambda user_id: chat.abort_all(
                user_id, by="server", seconds=_DISABLED_ABORT_SECONDS
            ),
        )
        stack.enter_context(control.orders.hearing(partial(_wake, watch)))
        parts = Parts(
            settings=settings,
            chat=chat,
            sessions=Sessions(sessions, chat, catalog),
            purging=purging,
            accounts=who.accounts,
            managing=who.managing,
            tickets=who.tickets,
            watch=watch,
            catalog=catalog,
            limiter=Limiter(
                Windows(control.windows),
                messages_per_minute=settings.rate_limit_messages_per_minute,
            ),
            attachments=attachments,
            exporting=Exporting(SqlExports(database), files),
            channels=channels,
            connections=control.connections,
            sockets=sockets,
            metrics=telemetry.metrics,
            traffic=telemetry.traffic,
            reports=reports,
            overviews=SqlOverviews(database),
            started_at=telemetry.started_at,
            traced=telemetry.traced,
            reload_models=catalog.reload,
            checks={
                "database": lambda: _is_ours(database, lock),
                "chat": chat.check,
                **({"redis": lambda: _answers(log)} if settings.redis_url else {}),
            },
        )
        await stack.enter_async_context(
            in_background(
                lock.watch(),
                *answers.works,
                watch.run(),
                catalog.watch(),
                channels.watch(),
                sockets.watch(),
                clean_up.watch(),
                indexing.watch(),
            )
        )
        # Nothing may fail behind it: the password is told by a server that runs, and only once.
        password = await who.administration.ensure_admin(
            settings.admin_username, reveal(settings.admin_password)
        )
        # Last in, first out: whatever still runs is ended while everything else is there.
        stack.push_async_callback(chat.drain, 0)
        yield Server(
            parts,
            who.administration,
            password,
            is_quiet=lambda: not (len(running) or len(answers.followers)),
        )


async def _tell_of_crashed(
    telemetry: Telemetry, crashed: Sequence[Generation], reports: SqlReports
) -> None:
    """What a crash has ended is told by the run that finds it."""
    for begin in range(0, len(crashed), _ROWS_A_LOOK):
        some = crashed[begin : begin + _ROWS_A_LOOK]
        questions = await reports.questions([generation.id for generation in some])
        for generation in some:
            telemetry.found_ended(generation, questions.get(generation.id, ""))


def _wake(watch: Watch, order: Order) -> None:
    if isinstance(order, Revoked):
        watch.wake()


async def _is_ours(database: Database, lock: ServerLock) -> None:
    """Raises RunnelError `store_unavailable` if it does not answer, or is another server's."""
    await database.check()
    await lock.check()


async def _answers(log: StreamLog) -> None:
    """Raises RunnelError `stream_unavailable` while the logs' place is away."""
    log.check()
