"""Readers whom the server closes have not left: with `on_disconnect: "abort"` nothing is aborted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from audience import (
    ABORTING,
    GATED,
    GENERATE,
    GRACE,
    Clock,
    alone,
    asking,
    assert_goes_on,
    assert_nothing_left,
    ended,
    running,
)
from away import Away
from provider import Answer
from reading import Incoming
from standing import Standing, standing


@pytest.fixture
def stand(migrated: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Standing]:
    """A server with the settings that the test is marked with."""
    changes = getattr(request, "param", {})
    with standing(migrated, tmp_path, disconnect_grace_seconds=GRACE, **changes) as there:
        yield there
        assert_nothing_left(there)


@pytest.fixture
def clock(stand: Standing, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(stand, monkeypatch)


# Only what does not fit into the system's buffers makes the server itself wait. The system is
# told its limit when the server starts.
@pytest.mark.parametrize(
    "stand", [{"send_timeout_seconds": 30, "generation_max_bytes": 2**26}], indirect=True
)
def test_a_reader_that_the_server_gives_up_has_not_left(
    stand: Standing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand.server.settings, "send_timeout_seconds", 0.1)
    prompt = stand.prompt(Answer(["x" * 1_000_000] * 12, gate_after=12))
    with closing(asking(stand, prompt)):
        stand.provider.at_gate.wait_at_least(1)
        generation_id = running(stand)
        alone(stand)  # closed, for it took nothing
        clock.pass_by(1000)
        stand.provider.release()
        assert ended(stand, generation_id)["status"] == "completed"


@pytest.mark.parametrize("stand", [{"send_timeout_seconds": 0.3}], indirect=True)
def test_whom_the_system_hangs_up_on_has_left(stand: Standing, clock: Clock) -> None:
    # It takes no more, or is not there any more: the system cannot tell.
    prompt = stand.prompt(Answer(["x" * 1000] * 12, gate_after=12))
    with closing(asking(stand, prompt)):
        stand.provider.at_gate.wait_at_least(1)
        generation_id = running(stand)
        alone(stand)
        clock.pass_by(1000)
        assert ended(stand, generation_id)["status"] == "aborted"


def test_whom_a_logout_closes_has_not_left(stand: Standing, clock: Clock) -> None:
    body = {"username": stand.user.username, "password": stand.user.password}
    token = stand.client.post("/login", json=body).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    content = {"message": stand.prompt(GATED)} | ABORTING
    with stand.client.stream("POST", GENERATE, json=content, headers=headers) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"Hello")
        assert stand.client.post("/logout", headers=headers).is_success
        assert b"[DONE]" not in reader.rest()
    alone(stand)
    clock.pass_by(1000)
    assert_goes_on(stand, response.headers["X-Generation-Id"])


@pytest.mark.parametrize("stand", [{"store_retry_seconds": 0.1}], indirect=True)
def test_who_is_let_go_while_the_database_is_away_has_not_left(
    stand: Standing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = stand.server.server.parts.chat
    away = Away(chat._store)
    monkeypatch.setattr(chat._making, "_store", away)
    content = {"message": stand.prompt(Answer(["whole"]))} | ABORTING
    response = stand.client.post(GENERATE, json=content)
    assert b"[DONE]" not in response.content
    clock.pass_by(1000)
    away.back.set()
    assert ended(stand, response.headers["X-Generation-Id"])["status"] == "completed"
