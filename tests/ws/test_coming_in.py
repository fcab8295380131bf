"""Whoever comes in over a WebSocket, asks and leaves keeps no thread busy: on SQLite that takes many
times longer than what is looked up.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import event

from provider import Answer
from runnel.store.chat import ChatStore
from sockets import opened, text_of
from standing import Standing

#: Nobody looks by itself.
SETTINGS: Final = dict.fromkeys(
    ("heartbeat_seconds", "revocation_check_seconds", "clean_up_seconds"), 3600
)

pytestmark = pytest.mark.usefixtures("tidy")


@contextmanager
def by_threads(stand: Standing) -> Generator[list[str]]:
    """The statements that threads run meanwhile."""
    store = stand.server.server.parts.chat._making._store
    assert isinstance(store, ChatStore)
    engine = store._database.engine.sync_engine
    said: list[str] = []

    def told(_connection: object, _cursor: object, text: str, *_: Any) -> None:
        said.append(text)

    event.listen(engine, "before_cursor_execute", told)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", told)


async def test_a_socket_is_served_without_a_thread(stand: Standing) -> None:
    question = stand.prompt(Answer(["Hello"]))
    with by_threads(stand) as statements:
        for session in ("one", "one", "two"):
            async with opened(stand.server, f"/ws/{session}", stand.user) as socket:
                await socket.send({"type": "message", "content": question})
                assert text_of(await socket.until("stream_end")) == "Hello"
    assert statements == []
