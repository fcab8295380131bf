"""The ownership matrix, made from the route table: what is another's answers as what is not there.

For everybody but its owner, admins included; who is nobody is asked to sign in.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import httpx
import pytest

from provider import Answer
from serving import Signed
from talking import Talker
from wire import NOBODYS_ID, House, problem

#: The one thing in which two answers to the same may differ, but for these.
SAME_ID: Final = {"X-Request-Id": "the-same"}
_VARYING: Final = {"date", "x-ratelimit-remaining", "x-ratelimit-reset"}
OF_ADMINS: Final = "/api/admin/"
METHODS: Final = ("get", "post", "put", "patch", "delete")
#: What a path may name that is somebody's, by the name of its parameter.
OWNED: Final = {
    "session_id",
    "message_id",
    "generation_id",
    "attachment_id",
    "chat_id",
    "key_id",
    "user_id",
}
#: What a path may name that is everybody's.
COMMON: Final = {"model", "model_id"}
#: What a route wants to be sent before it looks for what its path names.
BODIES: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("patch", "/api/chat/sessions/{session_id}"): {"title": "stolen"},
    ("put", "/api/chat/sessions/{session_id}/branch"): {"message_id": NOBODYS_ID},
    ("put", "/api/chat/sessions/{session_id}/messages/{message_id}/reaction"): {"rating": 1},
    ("post", "/api/chat/sessions/{session_id}/messages/{message_id}/edit"): {"content": "stolen"},
}
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Owned:
    """What one user has, by the names that paths have for it."""

    owner: Talker
    by_name: dict[str, str]


@pytest.fixture(scope="module")
def owned(house: House) -> Owned:
    owner = Talker(house, house.server.user("owner"))
    session = owner.session(title="Secret")
    file = {"file": ("secret.txt", b"a secret")}
    attached = house.http.post("/api/attachments", files=file, headers=owner.signed.headers)
    attachment_id = attached.raise_for_status().json()["attachment_id"]
    asked = owner.say("hi", session["session_id"], attachments=[attachment_id])
    key = owner.ok("POST", "/api/keys", {"name": "key"})
    return Owned(
        owner,
        {
            "session_id": session["session_id"],
            "chat_id": session["session_id"],
            "message_id": asked["message_id"],
            "generation_id": asked["generation_id"],
            "attachment_id": attachment_id,
            "key_id": key["id"],
            "user_id": owner.ok("GET", "/me")["id"],
        },
    )


@pytest.fixture(params=["another user", "an admin"])
def other(request: pytest.FixtureRequest, house: House) -> Signed:
    role = "admin" if request.param == "an admin" else "user"
    return house.server.user(f"other{next(_numbers)}", role)


def routes(house: House) -> list[tuple[str, str, list[str]]]:
    """Method, path and parameters of every route whose path names something, but for those of
    admins, who see everybody."""
    found: list[tuple[str, str, list[str]]] = []
    for path, operations in house.http.get("/openapi.json").json()["paths"].items():
        if path.startswith(OF_ADMINS):
            continue
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        found += [(method, path, names) for method in METHODS if method in operations and names]
    return found


def test_every_route_says_whose_its_path_names(house: House) -> None:
    named = {name for _, _, names in routes(house) for name in names}
    assert named - COMMON == OWNED
    known = {(method, path) for method, path, _ in routes(house)}
    assert BODIES.keys() <= known


def test_what_is_anothers_answers_as_what_is_not_there(
    house: House, owned: Owned, other: Signed
) -> None:
    before = state(owned)
    for method, path, names in routes(house):
        if not OWNED & {*names}:
            continue
        route = (method, path)
        nothing = dict.fromkeys(OWNED, NOBODYS_ID)
        unknown = answered(house, route, nothing, other.headers)
        problem(unknown, 404, "not_found")
        foreign = answered(house, route, owned.by_name, other.headers)
        assert shown(foreign) == shown(unknown), route
        for ids in (owned.by_name, nothing):
            problem(answered(house, route, ids, {}), 401, "unauthorized")
    assert state(owned) == before


def test_what_a_body_names_of_anothers_is_not_there(
    house: House, owned: Owned, other: Signed
) -> None:
    before = state(owned)
    talker = Talker(house, other)
    own = talker.say("mine", "s")
    house.provider.answer("test", Answer(["x"]))

    def bodies(ids: dict[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
        return [
            ("POST", "/chat", {"message": "x", "session_id": ids["session_id"]}),
            ("POST", "/api/generate", {"message": "x", "session_id": ids["session_id"]}),
            ("POST", "/chat", {"message": "x", "attachments": [ids["attachment_id"]]}),
            ("POST", "/api/tickets", {"generation_id": ids["generation_id"]}),
            ("POST", "/api/chat/export", {"session_id": ids["session_id"], "format": "json"}),
            (
                "PUT",
                f"/api/chat/sessions/{own['session_id']}/branch",
                {"message_id": ids["message_id"]},
            ),
        ]

    nothing = dict.fromkeys(OWNED, NOBODYS_ID)
    for (method, path, body), (_, _, unknown_body) in zip(
        bodies(owned.by_name), bodies(nothing), strict=True
    ):
        foreign, unknown = (
            house.http.request(method, path, json=each, headers=other.headers | SAME_ID)
            for each in (body, unknown_body)
        )
        problem(unknown, 404, "not_found", more={*unknown.json()} & {"errors"})
        assert shown(foreign) == shown(unknown), path
        problem(house.http.request(method, path, json=body), 401, "unauthorized")
    assert state(owned) == before


def test_lists_show_nothing_of_anothers(house: House, owned: Owned, other: Signed) -> None:
    listing = [
        path
        for path, operations in house.http.get("/openapi.json").json()["paths"].items()
        if "get" in operations and "{" not in path and path.startswith("/api/")
        if not path.startswith(OF_ADMINS)
    ]
    assert "/api/chat/sessions" in listing
    for path in listing:
        shown_ = house.http.get(path, headers=other.headers).text
        for name, id_ in owned.by_name.items():
            assert id_ not in shown_, (path, name)
    found = house.http.get("/api/chat/sessions", params={"q": "secret"}, headers=other.headers)
    assert found.json()["sessions"] == []


def answered(
    house: House, route: tuple[str, str], ids: dict[str, str], who: dict[str, str]
) -> httpx.Response:
    method, path = route
    nothing: dict[str, Any] | None = {} if method == "post" else None
    body = BODIES.get(route, nothing)
    return house.http.request(method, path.format_map(ids), json=body, headers=who | SAME_ID)


def state(owned: Owned) -> list[bytes]:
    """All that its owner is shown of it."""
    ids = owned.by_name
    return [
        owned.owner.call("GET", path).content
        for path in (
            f"/api/chat/sessions/{ids['session_id']}",
            f"/api/chat/sessions/{ids['session_id']}/messages?tree=true",
            f"/api/generations/{ids['generation_id']}",
            f"/api/attachments/{ids['attachment_id']}",
            f"/api/chats/{ids['chat_id']}",
            "/api/keys",
        )
    ]


def shown(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a client is sent, but what tells when, and how often it may ask."""
    headers = [pair for pair in answer.headers.items() if pair[0] not in _VARYING]
    return answer.status_code, headers, answer.content
