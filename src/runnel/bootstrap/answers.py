"""The parts that make answers, and, where there are other instances, take theirs over."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from runnel.bootstrap.control import Control
from runnel.chat.aborting import Aborting
from runnel.chat.attachments.ports import AttachmentFiles
from runnel.chat.attendance import Attendance
from runnel.chat.audiences import Audiences
from runnel.chat.closing import Closing
from runnel.chat.following import Followers
from runnel.chat.leases import Leases
from runnel.chat.making import Making
from runnel.chat.model_ports import Catalog
from runnel.chat.ports import Observer, Store, StreamLog
from runnel.chat.running import Running
from runnel.chat.service import ChatService
from runnel.chat.takeover import Takeover
from runnel.configs import bounds_of, rules_of
from runnel.settings import Settings
from runnel.store.engine import Database
from runnel.store.lease_store import SqlLeases
from runnel.telemetry.observers import Observers


@dataclass(frozen=True, slots=True)
class Answers:
    """`works` run beside the server, for as long as it lives."""

    chat: ChatService
    running: Running
    aborting: Aborting
    followers: Followers
    works: Sequence[Coroutine[Any, Any, None]]


def build_answers(
    settings: Settings,
    *,
    owner: str,
    database: Database,
    store: Store,
    catalog: Catalog,
    files: AttachmentFiles,
    log: StreamLog,
    control: Control,
    observer: Observer,
) -> Answers:
    """`owner` is this instance's name in the store."""
    shared = bool(settings.redis_url)
    bounds = bounds_of(settings)
    audiences = Audiences(grace_seconds=settings.disconnect_grace_seconds)
    followers = Followers(store, audiences, observer, silence_seconds=settings.heartbeat_seconds)
    told = Observers(observer, followers.ended)
    attendance = Attendance(
        audiences, control.presence, grace_seconds=settings.disconnect_grace_seconds
    )
    running = Running(
        store,
        log,
        audiences,
        attendance,
        control.orders,
        checkpoint_seconds=settings.checkpoint_seconds,
        shared=shared,
        hands_back=shared and settings.takeover != "fail",
    )
    aborting = Aborting(store, running, control.orders, shared=shared)
    making = Making(
        catalog=catalog, store=store, files=files, log=log, bounds=bounds, observer=told
    )
    chat = ChatService(
        owner=owner,
        making=making,
        store=store,
        log=log,
        running=running,
        aborting=aborting,
        followers=followers,
        bus=control.bus,
        rules=rules_of(settings),
        observer=observer,
    )
    works: list[Coroutine[Any, Any, None]] = [
        running.watch(),
        followers.watch(),
        attendance.watch(),
    ]
    if shared:
        leases = SqlLeases(database, history_max_messages=settings.history_max_messages)
        takeover = Takeover(
            leases,
            log,
            making,
            running,
            Closing(store, log, told, store_retry_seconds=settings.store_retry_seconds),
            policy=settings.takeover,
            log_retry_seconds=bounds.log_retry_seconds,
        )
        kept = Leases(
            leases,
            running,
            control.orders,
            owner=owner,
            lease_seconds=settings.lease_seconds,
            resume=takeover.resume,
        )
        works += [aborting.listen(), kept.watch()]
    return Answers(chat, running, aborting, followers, works)
