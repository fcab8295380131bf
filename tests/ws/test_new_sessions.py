"""Naming a session makes one; nobody makes them without end."""

from typing import Final

import pytest

from provider import Answer
from sockets import closing, opened
from standing import Standing
from ws.open_sockets import let_in_or_not

SETTINGS: Final = {"rate_limit_messages_per_minute": 2}

pytestmark = pytest.mark.usefixtures("tidy")


async def test_as_many_may_be_made_as_questions_asked(stand: Standing) -> None:
    who = stand.server.user("bea")
    before = len(stand.rows("SELECT id FROM sessions"))
    for name in ("one", "one", "two", "one", "two"):
        async with opened(stand.server, f"/ws/{name}", who) as socket:
            assert await let_in_or_not(socket) is None
    async with opened(stand.server, "/ws/three", who) as socket:
        code, reason = await closing(socket)
    assert code == 4429
    assert reason == "At most 2 per 1 minute for new sessions. Wait, then try again."
    assert len(stand.rows("SELECT id FROM sessions")) == before + 2
    async with opened(stand.server, "/ws/two", who) as socket:
        await socket.send({"type": "message", "content": stand.prompt(Answer(["hi"]))})
        await socket.until("stream_end")
    async with opened(stand.server, "/ws/three", stand.user) as socket:
        assert await let_in_or_not(socket) is None
