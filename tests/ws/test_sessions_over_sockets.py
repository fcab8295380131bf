"""What becomes of sessions is seen on their channels: closed, purged, set, branched."""

import httpx
import pytest

from provider import Answer
from rooms import FULL, HALF, WHOLE, Room, error, room
from runnel.chat.notices import Gone, Notice
from runnel.control.memory import MemoryBus
from sockets import kinds, text_of
from standing import Json, Standing

pytestmark = pytest.mark.usefixtures("tidy")
SESSION = "/api/chat/sessions/room"


async def call(here: Room, method: str, path: str = "", body: Json | None = None) -> httpx.Response:
    async with here.stand.server.client(here.user) as client:
        response = await client.request(method, f"{SESSION}{path}", json=body)
    assert response.is_success, response.text
    return response


async def test_who_is_in_a_session_that_is_purged_is_told_that_there_is_none(
    stand: Standing,
) -> None:
    async with room(stand, "session") as here:
        devices = [await here.device(), await here.device()]
        everywhere = await here.device("user")
        await devices[0].send(here.question(HALF))
        await devices[1].until("stream_chunk")
        await call(here, "DELETE", "?purge=true")
        for device in devices:
            assert await device.closed() == 4404
        stand.provider.release()
        await everywhere.send({"type": "ping"})
        assert (await everywhere.until("pong"))[-1] == {"type": "pong"}
        fresh = await here.device()
        await fresh.send(here.question(FULL))
        assert text_of(await fresh.answer()) == WHOLE


async def test_a_purge_that_the_bus_has_lost_is_seen_at_the_next_look(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = MemoryBus.publish

    def lose(self: MemoryBus, notice: Notice) -> None:
        if not isinstance(notice, Gone):
            publish(self, notice)

    monkeypatch.setattr(MemoryBus, "publish", lose)
    async with room(stand, "session") as here:
        device = await here.device()
        await call(here, "DELETE", "?purge=true")
        await device.send(here.question(FULL))
        error(await device.next(), "not_found")
        stand.server.call(stand.server.server.parts.channels.look())
        assert await device.closed() == 4404


async def test_a_closed_session_is_heard_and_not_asked(stand: Standing) -> None:
    async with room(stand, "session") as here:
        device = await here.device()
        await device.send(here.question(HALF))
        await device.until("stream_chunk")
        await call(here, "DELETE")
        assert (await device.answer())[-1]["type"] == "aborted"
        stand.provider.release()
        await device.send(here.question(FULL, client_message_id="late"))
        refused = await device.next()
        assert "closed" in error(refused, "session_closed", "client_message_id")
        await call(here, "PATCH", body={"status": "active"})
        await device.send(here.question(FULL))
        assert text_of(await device.answer()) == WHOLE


async def test_a_session_says_how_its_answers_come_and_a_question_may_say_otherwise(
    stand: Standing,
) -> None:
    async with room(stand, "session") as here:
        device, other = await here.device(), await here.device()
        await call(here, "PATCH", body={"settings": {"stream_responses": False}})
        await device.send(here.question(FULL))
        assert kinds(await device.answer()) == ["message"]
        assert kinds(await other.answer()) == ["message_saved", "message"]
        await device.send(here.question(FULL, stream=True))
        assert text_of(await device.answer()) == WHOLE
        assert "stream_chunk" in kinds(await other.answer())
        await here.ask_over_http(FULL)
        assert kinds(await device.answer()) == ["message_saved", "message"]
        await call(here, "PATCH", body={"settings": {"stream_responses": True}})
        await other.answer()
        await device.send(here.question(FULL))
        assert "stream_chunk" in kinds(await device.answer())


async def test_another_answer_and_another_question_are_heard_by_all(stand: Standing) -> None:
    async with room(stand, "session") as here:
        asked = await here.ask_over_http(Answer(["one"]))
        device = await here.device()
        message = f"/messages/{asked['user_message_id']}"
        again = (await call(here, "POST", f"{message}/regenerate", {})).json()
        heard = await device.answer()
        assert heard[0]["message_id"] == asked["user_message_id"]
        assert heard[-1]["message_id"] == again["message_id"]
        prompt = stand.prompt(FULL)
        edited = (await call(here, "POST", f"{message}/edit", {"content": prompt})).json()
        heard = await device.answer()
        assert (heard[0]["message_id"], heard[0]["content"]) == (
            edited["user_message_id"],
            prompt,
        )
        assert text_of(heard) == WHOLE
