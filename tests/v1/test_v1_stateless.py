"""A talk of /v1 is the client's: the server shows it nowhere, and keeps no more than it needs."""

from surface import HELLO, MODEL, WEATHER, Surface
from wire import cells, problem, query


def test_no_session_of_v1_can_be_gone_on_with(v1: Surface) -> None:
    session_id = v1.post().headers["x-session-id"]
    again = v1.http.post("/chat", json={"message": "and?", "session_id": session_id})
    problem(again, 404, "not_found")
    assert query(v1.server, "SELECT hidden FROM sessions WHERE id = ?", session_id) == [(1,)]


def test_each_question_has_a_session_of_its_own(v1: Surface) -> None:
    ids = {v1.post().headers["x-session-id"] for _ in range(2)}
    ids.add(v1.http.post("/chat", json={"message": "and?"}).json()["session_id"])
    assert len(ids) == 3


def test_of_the_talk_the_question_and_the_answer_are_kept_and_nothing_else(v1: Surface) -> None:
    talk = [
        {"role": "system", "content": "CANARY system"},
        {"role": "user", "content": "CANARY earlier"},
        {"role": "assistant", "content": "CANARY answer"},
    ]
    response = v1.post(messages=[*talk, *HELLO], tools=[WEATHER], user="CANARY user")
    v1.settle()
    assert not [table for table, cell in cells(v1.server) if "CANARY" in cell]
    kept = query(
        v1.server,
        "SELECT role, content FROM messages WHERE session_id = ? ORDER BY id",
        response.headers["x-session-id"],
    )
    assert kept == [("user", "Hello?"), ("assistant", "Hello world")]


def test_an_answer_is_counted_and_shown_as_every_other(v1: Surface) -> None:
    generation_id = v1.post(model="chat/other").headers["x-generation-id"]
    shown = v1.http.get(f"/api/generations/{generation_id}").json()
    assert (shown["status"], shown["text"], shown["model"]) == (
        "completed",
        "Hello world",
        "chat/other",
    )
    assert shown["usage"]["total_tokens"] == 15
    assert shown["usage"]["cost"] > 0


def test_a_key_of_ours_opens_it(v1: Surface) -> None:
    made = v1.http.post("/api/keys", json={"name": "sdk"}).raise_for_status().json()
    with v1.signed_in(made["key"]) as client:
        completion = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert completion.choices[0].message.content == "Hello world"


def test_a_key_for_asking_twice_means_nothing_here(v1: Surface) -> None:
    """No client of this wire knows it; each question is one."""
    headers = {"Idempotency-Key": "same"}
    body = {"model": MODEL, "messages": HELLO}
    ids = [
        v1.http.post("/v1/chat/completions", json=body, headers=headers).json()["id"]
        for _ in range(2)
    ]
    assert ids[0] != ids[1]
