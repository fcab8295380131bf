"""Tickets over the wire: leave to read one answer, and nothing else, for as long as its login."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from attaching import (
    END,
    after_retry,
    attach,
    finished,
    login,
    not_signed_in,
    path_of,
    poll,
    ticket_for,
)
from provider import Answer
from reading import parsed_text
from serving import Signed
from standing import Json, Standing, standing
from wire import (
    NOBODYS_ID,
    PRODUCTION_SECRET,
    bearer,
    claims_of,
    forged,
    now,
    refused_field,
)

FORMS = ("text", "events")


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("tickets")) as there:
        yield there


@pytest.fixture(scope="module")
def anybody(stand: Standing) -> Iterator[httpx.Client]:
    """A client without credentials."""
    with httpx.Client(base_url=stand.server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def whole(stand: Standing) -> str:
    """A finished answer of ana's."""
    return finished(stand)


@pytest.fixture(scope="module")
def ticket(stand: Standing, whole: str) -> str:
    return ticket_for(stand.client, whole)


@pytest.fixture(scope="module")
def eve(stand: Standing) -> Signed:
    return stand.server.user("eve")


def test_a_ticket_says_how_long_it_is_good_for(stand: Standing, whole: str) -> None:
    answer = stand.client.post("/api/tickets", json={"generation_id": whole})
    assert answer.status_code == 200
    assert set(answer.json()) == {"ticket", "expires_in"}
    assert answer.json()["expires_in"] == 3600
    claims = claims_of(answer.json()["ticket"])
    assert claims["exp"] - claims["iat"] == 3600


def test_a_ticket_reads_its_answer_again_and_again_by_every_door(
    stand: Standing, anybody: httpx.Client, whole: str, ticket: str
) -> None:
    for _ in range(3):
        for form in FORMS:
            for last in ("", "1-0", "1-4", "1-99", END):
                own = attach(stand.client, whole, last, format=form)
                assert attach(anybody, whole, last, format=form, ticket=ticket) == own
        assert poll(anybody, whole, ticket=ticket) == poll(stand.client, whole)
        assert poll(anybody, whole, END, ticket=ticket, wait=1)["done"]


@pytest.mark.parametrize("form", FORMS)
def test_the_address_of_a_background_answer_is_all_that_a_page_needs(
    stand: Standing, anybody: httpx.Client, form: str
) -> None:
    accepted = stand.ask("/chat", Answer(["Hello"]), background=True, format=form).json()
    url = accepted["events_url"]
    assert accepted["ticket"] in url
    body = after_retry(anybody.get(url).content)
    if form == "text":
        assert parsed_text(body) == "Hello"
    else:
        assert b'event: token\ndata: {"text":"Hello"}\nid: 1-1\n\n' in body
    # As a browser that reconnects: the same address, and its header.
    assert anybody.get(url, headers={"Last-Event-ID": "1-2"}).status_code == 204


ELSEWHERE: dict[str, tuple[str, str, Json | None]] = {
    "generation": ("GET", "/api/generations/{id}", None),
    "abort": ("POST", "/api/generations/{id}/abort", None),
    "list": ("GET", "/api/generations", None),
    "me": ("GET", "/me", None),
    "delete": ("DELETE", "/me", None),
    "keys": ("GET", "/api/keys", None),
    "chat": ("POST", "/chat", {"message": "?"}),
    "generate": ("POST", "/api/generate", {"message": "?"}),
    "tickets": ("POST", "/api/tickets", {"generation_id": "{id}"}),
    "logout": ("POST", "/logout", None),
}


@pytest.mark.parametrize("route", ELSEWHERE)
def test_nothing_else_takes_a_ticket(
    anybody: httpx.Client, whole: str, ticket: str, route: str
) -> None:
    method, path, body = ELSEWHERE[route]
    path = path.format(id=whole)
    body = body and {name: value.format(id=whole) for name, value in body.items()}
    not_signed_in(anybody.request(method, path, params={"ticket": ticket}, json=body))
    not_signed_in(anybody.request(method, path, headers=bearer(ticket), json=body))


def test_a_ticket_is_neither_a_bearer_token_nor_a_refresh_token(
    anybody: httpx.Client, whole: str, ticket: str
) -> None:
    not_signed_in(anybody.get(path_of(whole), headers=bearer(ticket)))
    not_signed_in(anybody.post("/refresh", json={"refresh_token": ticket}))
    for name in ("token", "access_token", "api_key", "Ticket"):
        not_signed_in(anybody.get(path_of(whole), params={name: ticket}))


def test_a_ticket_is_for_its_generation_alone(
    stand: Standing, anybody: httpx.Client, eve: Signed, ticket: str
) -> None:
    own = finished(stand)
    asked = anybody.post("/chat", json={"message": stand.prompt(Answer())}, headers=eve.headers)
    for other in (own, asked.json()["generation_id"], NOBODYS_ID, "%00", "x"):
        for accept in ("text/event-stream", "application/json"):
            not_signed_in(
                anybody.get(path_of(other), params={"ticket": ticket}, headers={"Accept": accept})
            )


@pytest.mark.parametrize(
    "body",
    [
        {"generation_id": 7},
        {"generation_id": ["x"]},
        {"generation_id": {"id": "x"}},
    ],
)
def test_a_ticket_is_asked_for_with_a_generation(stand: Standing, body: Json) -> None:
    refused_field(stand.client.post("/api/tickets", json=body), "generation_id")


@pytest.mark.parametrize(
    "body", [{}, {"generation_id": None}, {"websocket": False}, {"websocket": "yes"}]
)
def test_a_ticket_is_for_something(stand: Standing, body: Json) -> None:
    response = stand.client.post("/api/tickets", json=body)
    assert response.status_code == 422
    assert "websocket" in response.json()["detail"]


def test_a_ticket_is_not_for_two_things(stand: Standing, whole: str) -> None:
    body = {"generation_id": whole, "websocket": True}
    assert stand.client.post("/api/tickets", json=body).status_code == 422


def test_an_unknown_field_of_a_ticket_is_not_signed_in(stand: Standing, whole: str) -> None:
    body = {"generation_id": whole, "seconds": 10**9}
    refused_field(stand.client.post("/api/tickets", json=body), "seconds")


@dataclass(frozen=True, slots=True)
class Known:
    """What wrong tickets are made of."""

    stand: Standing
    ticket: str
    pair: Json
    key: str

    def forged(self, *, secret: str | None = None, **changes: object) -> str:
        claims = {k: v for k, v in (claims_of(self.ticket) | changes).items() if v is not None}
        return forged(self.stand.server, claims, secret=secret)


@pytest.fixture(scope="module")
def known(stand: Standing, anybody: httpx.Client, ticket: str) -> Known:
    pair = login(anybody, stand.user)
    key = stand.client.post("/api/keys", json={"name": "k"}).json()["key"]
    return Known(stand, ticket, pair, key)


WRONG: dict[str, Callable[[Known], str]] = {
    "empty": lambda _: "",
    "garbage": lambda _: "garbage",
    "three parts": lambda _: "a.b.c",
    "9 KB": lambda _: "x" * 9216,
    "not ascii": lambda _: "\N{GRINNING FACE}",
    "access token": lambda known: known.pair["access_token"],
    "refresh token": lambda known: known.pair["refresh_token"],
    "api key": lambda known: known.key,
    "cut": lambda known: known.ticket[:-1],
    "longer": lambda known: f"{known.ticket}A",
    "padded": lambda known: f"{known.ticket}=",
    "another secret": lambda known: known.forged(secret=PRODUCTION_SECRET),
    "expired": lambda known: known.forged(exp=now() - 1),
    "issued tomorrow": lambda known: known.forged(iat=now() + 86_400),
    "without exp": lambda known: known.forged(exp=None),
    "without generation": lambda known: known.forged(generation=None),
    "a list of generations": lambda known: known.forged(generation=["*"]),
    "another type": lambda known: known.forged(typ="access"),
    "unknown login": lambda known: known.forged(login=NOBODYS_ID),
    "another user": lambda known: known.forged(sub=NOBODYS_ID),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_ticket_is_refused_in_the_same_words(
    anybody: httpx.Client, known: Known, whole: str, name: str
) -> None:
    wrong = WRONG[name](known)
    expected = not_signed_in(anybody.get("/me", headers=bearer("garbage")))
    for accept in ("text/event-stream", "application/json"):
        answer = anybody.get(path_of(whole), params={"ticket": wrong}, headers={"Accept": accept})
        assert not_signed_in(answer) == expected


def test_the_header_wins_over_a_ticket(
    stand: Standing, anybody: httpx.Client, eve: Signed, whole: str, ticket: str
) -> None:
    def status(headers: dict[str, str], ticket: str) -> int:
        answer = anybody.get(path_of(whole), params={"ticket": ticket}, headers=headers)
        return answer.status_code

    assert status({}, ticket) == 200
    assert status(stand.user.headers, "garbage") == 200
    assert status(eve.headers, ticket) == 404
    for header in ("Bearer garbage", "Basic Og==", "", f"Bearer {ticket}"):
        assert status({"Authorization": header}, ticket) == 401


def test_a_ticket_of_a_guest_is_none_where_guests_are_not_let_in(
    anybody: httpx.Client, known: Known, whole: str
) -> None:
    not_signed_in(anybody.get(path_of(whole), params={"ticket": known.forged(login="")}))
