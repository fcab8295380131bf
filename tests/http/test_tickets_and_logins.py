"""Tickets end with the login that they were asked for with; and nobody else learns of them."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import httpx
import pytest
import structlog
from structlog.contextvars import merge_contextvars

from attaching import END, attach, following, gated, login, not_signed_in, path_of, poll, ticket_for
from provider import Answer, Provider
from serving import LiveServer, Signed
from standing import Json, Serve, Standing, standing
from waiting import until
from wire import bearer, models_of, problem, query

#: What the contract gives the end of a stream; the client's own timeout is what would fail.
END_SECONDS: Final = 5
_numbers = count(1)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("logins")) as there:
        yield there


@pytest.fixture(scope="module")
def anybody(stand: Standing) -> Iterator[httpx.Client]:
    """A client without credentials."""
    with httpx.Client(base_url=stand.server.url, timeout=END_SECONDS) as client:
        yield client


@pytest.fixture
def ada(stand: Standing) -> Signed:
    """A user whom no other test knows."""
    return stand.server.user(f"ada{next(_numbers)}")


@pytest.fixture
def running(stand: Standing, ada: Signed) -> Iterator[str]:
    """An answer of ada's that has said two pieces, and says the rest when it is over."""
    with (
        httpx.Client(base_url=stand.server.url, headers=ada.headers) as client,
        gated(stand, client=client) as generation_id,
    ):
        yield generation_id


def logout(stand: Standing, _: Signed, token: str) -> None:
    stand.client.post("/logout", headers=bearer(token)).raise_for_status()


def new_password(stand: Standing, ada: Signed, token: str) -> None:
    body = {"current_password": ada.password, "new_password": "another good one"}
    stand.client.post("/me/password", json=body, headers=bearer(token)).raise_for_status()


def disable(stand: Standing, ada: Signed, _: str) -> None:
    stand.server.call(stand.server.server.administration.disable(ada.username))


def delete(stand: Standing, _: Signed, token: str) -> None:
    stand.client.delete("/me", headers=bearer(token)).raise_for_status()


LEAVING: Final = [logout, new_password, disable, delete]


@pytest.mark.parametrize("form", ["text", "events"])
@pytest.mark.parametrize("leave", LEAVING)
def test_with_its_login_a_ticket_ends_and_so_does_what_is_read_with_it(
    *,
    stand: Standing,
    anybody: httpx.Client,
    ada: Signed,
    running: str,
    leave: Callable[[Standing, Signed, str], None],
    form: str,
) -> None:
    token = login(anybody, ada)["access_token"]
    ticket = ticket_for(anybody, running, headers=bearer(token))
    with following(anybody, running, format=form, ticket=ticket) as incoming:
        incoming.until(b"id: 1-2\n\n")
        leave(stand, ada, token)
        rest = incoming.rest()
    if leave in {logout, new_password}:
        assert b"[DONE]" not in rest  # the answer itself goes on
    for params in ({}, {"format": form}, {"after": "1-2"}, {"after": END}):
        for accept in ("text/event-stream", "application/json"):
            headers = {"Accept": accept}
            answer = anybody.get(
                path_of(running), params={"ticket": ticket, **params}, headers=headers
            )
            not_signed_in(answer)


def test_a_poll_that_waits_ends_with_its_login(
    stand: Standing, anybody: httpx.Client, ada: Signed, running: str
) -> None:
    token = login(anybody, ada)["access_token"]
    ticket = ticket_for(anybody, running, headers=bearer(token))
    until(lambda: poll(anybody, running, ticket=ticket)["position"] == "1-2")
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(poll, anybody, running, "1-2", ticket=ticket, wait=30)
        until(lambda: stand.held()["readers"] == 1)
        logout(stand, ada, token)
        page = polling.result(END_SECONDS)
    assert page == {"events": [], "position": "1-2", "done": False}


def test_a_ticket_of_another_login_stays_good(
    stand: Standing, anybody: httpx.Client, ada: Signed, running: str
) -> None:
    leaving, staying = (login(anybody, ada)["access_token"] for _ in range(2))
    ticket = ticket_for(anybody, running, headers=bearer(staying))
    with following(anybody, running, format="text", ticket=ticket) as incoming:
        incoming.until(b"id: 1-2\n\n")
        logout(stand, ada, leaving)
        stand.server.call(stand.server.server.parts.watch.look())
        stand.provider.release()
        assert incoming.rest().endswith(b"data: [DONE]\nid: 1-6\n\n")
    assert attach(anybody, running, END, ticket=ticket) == b""


def test_with_its_api_key_a_ticket_ends(anybody: httpx.Client, ada: Signed, running: str) -> None:
    made = anybody.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()
    ticket = ticket_for(anybody, running, headers=bearer(made["key"]))
    with following(anybody, running, ticket=ticket) as incoming:
        incoming.until(b"id: 1-2\n\n")
        path = f"/api/keys/{made['id']}"
        anybody.delete(path, headers=ada.headers).raise_for_status()
        assert b"[DONE]" not in incoming.rest()
    not_signed_in(anybody.get(path_of(running), params={"ticket": ticket}))


def test_a_ticket_outlives_the_access_token_that_it_was_asked_for_with(
    anybody: httpx.Client, ada: Signed, running: str, stand: Standing
) -> None:
    pair = login(anybody, ada)
    ticket = ticket_for(anybody, running, headers=bearer(pair["access_token"]))
    body = {"refresh_token": pair["refresh_token"]}
    anybody.post("/refresh", json=body).raise_for_status()
    stand.provider.release()
    until(lambda: poll(anybody, running, ticket=ticket)["done"])


def test_expiry_refuses_the_next_attach_and_cuts_no_open_stream(
    stand: Standing,
    anybody: httpx.Client,
    ada: Signed,
    running: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticket = ticket_for(anybody, running, headers=ada.headers)
    parts = stand.server.server.parts
    with following(anybody, running, format="text", ticket=ticket) as incoming:
        incoming.until(b"id: 1-2\n\n")
        later = lambda: datetime.now(UTC) + timedelta(seconds=3600)  # noqa: E731 - a clock
        monkeypatch.setattr(parts.tickets._tokens, "_clock", later)
        not_signed_in(anybody.get(path_of(running), params={"ticket": ticket}))
        stand.server.call(parts.watch.look())
        stand.provider.release()
        assert incoming.rest().endswith(b"data: [DONE]\nid: 1-6\n\n")


def test_a_ticket_for_what_was_purged_finds_nothing(
    stand: Standing, anybody: httpx.Client, ada: Signed
) -> None:
    body = {"message": stand.prompt(Answer())}
    asked = anybody.post("/chat", json=body, headers=ada.headers).json()
    ticket = ticket_for(anybody, asked["generation_id"], headers=ada.headers)
    query(stand.server, "DELETE FROM generations WHERE id = ?", asked["generation_id"])
    for accept in ("text/event-stream", "application/json"):
        answer = anybody.get(
            path_of(asked["generation_id"]), params={"ticket": ticket}, headers={"Accept": accept}
        )
        problem(answer, 404, "not_found")


@pytest.fixture
def open_house(serve: Serve, provider: Provider) -> LiveServer:
    """Lets everybody in as the guest."""
    return serve(models=models_of(provider), anonymous_access=True)


def test_where_everybody_may_come_in_a_ticket_is_still_checked(open_house: LiveServer) -> None:
    ana = open_house.user("ana")
    with httpx.Client(base_url=open_house.url, timeout=30) as http:
        guests, anas = (
            http.post("/chat", json={"message": "?"}, headers=headers).json()["generation_id"]
            for headers in ({}, ana.headers)
        )
        of_guest, of_ana = ticket_for(http, guests), ticket_for(http, anas, headers=ana.headers)

        def status(generation_id: str, **params: str) -> int:
            return http.get(path_of(generation_id), params=params).status_code

        assert status(guests) == 200
        assert status(guests, ticket=of_guest) == 200
        assert status(anas, ticket=of_ana) == 200
        assert status(anas) == 404
        # Whoever shows a ticket is not taken for the guest because it does not hold.
        assert status(guests, ticket="garbage") == status(guests, ticket=of_ana) == 401
        assert status(anas, ticket=of_guest) == 401
        problem(http.post("/api/tickets", json={"generation_id": anas}), 404, "not_found")
        open_house.call(open_house.server.administration.disable("guest"))
        assert status(guests, ticket=of_guest) == 401


def test_no_log_error_or_metric_holds_a_ticket_or_a_token(
    stand: Standing, anybody: httpx.Client, ada: Signed, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"message": stand.prompt(Answer())}
    asked = anybody.post("/chat", json=body, headers=ada.headers).json()["generation_id"]
    pair: Json = login(anybody, ada)
    ticket = ticket_for(anybody, asked, headers=bearer(pair["access_token"]))
    secrets = [ticket, pair["access_token"], pair["refresh_token"], "canary-in-a-query"]
    answers: list[httpx.Response] = []
    caplog.set_level(logging.DEBUG)
    # Nothing is cut out of these logs: what is in them is what was handed to them.
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as logs:
        for secret in secrets:
            for path, more in (
                (path_of(asked), ""),
                (path_of(asked), "&format=text"),
                (path_of(asked), "&after=1-2"),
                (path_of(asked), "&after=malformed"),
                (path_of(asked), "&wait=long"),
                (path_of(asked), "&format=none"),
                (path_of("unknown"), ""),
                (f"/api/generations/{asked}", ""),
                ("/api/generate", ""),
                ("/nothing", ""),
                (f"{path_of(asked)}/", ""),
            ):
                answers += [
                    anybody.get(f"{path}?{name}={secret}{more}")
                    for name in ("ticket", "token", "access_token")
                ]
            answers.append(anybody.post(f"{path_of(asked)}?ticket={secret}"))
        answers.append(stand.client.get(f"{path_of(asked)}?ticket={ticket}&after=x"))
    # The client's own; and uvicorn's of each request, which has no handler but pytest's: in a
    # process of its own (test_canary) it writes nothing.
    others = ("http", "uvicorn.access")
    own = [record for record in caplog.records if not record.name.startswith(others)]
    told = [str(logs), *(f"{record.getMessage()} {vars(record)}" for record in own)]
    told += [f"{answer.headers} {answer.text}" for answer in answers]
    told.append(anybody.get("/metrics").raise_for_status().text)
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 405, 422}
    assert [entry["path"] for entry in logs if entry["event"] == "request"].count(path_of(asked))
    for secret in secrets:
        assert not [text for text in told if secret in text]
        assert not [text for text in told if secret.rpartition(".")[2] in text]
