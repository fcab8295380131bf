"""Another's answer is, byte for byte, one that there is not: to read, to stop, to get a ticket for."""

from typing import Final

import httpx
import pytest

from serving import Signed
from wire import NOBODYS_ID, House, problem

#: The one thing in which two answers to the same may differ.
SAME_ID: Final = {"X-Request-Id": "the-same"}


def shown(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a client is sent, but the time."""
    headers = [pair for pair in answer.headers.items() if pair[0] != "date"]
    return answer.status_code, headers, answer.content


#: What names a generation: method, path, query, headers, and the owner's status.
NAMING: Final[dict[str, tuple[str, str, str, dict[str, str], int]]] = {
    "shown": ("GET", "", "", {}, 200),
    "aborted": ("POST", "/abort", "", {}, 200),
    "followed": ("GET", "/events", "", {}, 200),
    "followed as text": ("GET", "/events", "?format=text", {}, 200),
    "followed from within": ("GET", "/events", "?after=1-1", {}, 200),
    "followed from its end": ("GET", "/events", "", {"Last-Event-ID": "1-3"}, 204),
    "followed from elsewhere": ("GET", "/events", "?after=9-9", {}, 200),
    "polled": ("GET", "/events", "?wait=30", {"Accept": "application/json"}, 200),
    "polled at its end": ("GET", "/events", "?after=1-3", {"Accept": "application/json"}, 200),
}


@pytest.mark.parametrize("way", NAMING)
def test_anothers_generation_answers_as_an_unknown_one(
    house: House, ada: Signed, bob: Signed, way: str
) -> None:
    method, path, question, headers, status = NAMING[way]
    generation = house.ask(ada)["generation_id"]

    def answered(who: Signed, id_: str) -> httpx.Response:
        url = f"/api/generations/{id_}{path}{question}"
        return house.http.request(method, url, headers=who.headers | headers | SAME_ID)

    unknown = answered(bob, NOBODYS_ID)
    problem(unknown, 404, "not_found")
    for answer in (
        answered(bob, generation),
        *(answered(ada, unfit) for unfit in ("x", "%00", "%F0%9F%98%80", "0" * 300)),
    ):
        assert shown(answer) == shown(unknown)
    assert answered(ada, generation).status_code == status


def test_anothers_generation_gets_no_ticket(house: House, ada: Signed, bob: Signed) -> None:
    generation = house.ask(ada)["generation_id"]
    foreign, unknown, unfit = (
        house.http.post("/api/tickets", json={"generation_id": id_}, headers=bob.headers | SAME_ID)
        for id_ in (generation, NOBODYS_ID, "x\0" * 100)
    )
    problem(unknown, 404, "not_found")
    assert shown(foreign) == shown(unfit) == shown(unknown)


@pytest.mark.usefixtures("gate")
def test_anothers_running_answer_can_be_neither_read_nor_stopped(
    house: House, ada: Signed, bob: Signed
) -> None:
    running = house.ask(ada, model="chat/gated", background=True)["generation_id"]
    for method, path in (("POST", "abort"), ("GET", "events")):
        url = f"/api/generations/{running}/{path}"
        problem(house.http.request(method, url, headers=bob.headers), 404, "not_found")
    assert house.http.get("/api/generations", headers=bob.headers).json()["generations"] == []
    own = house.http.get(f"/api/generations/{running}", headers=ada.headers).json()
    assert own["status"] in {"queued", "running"}
