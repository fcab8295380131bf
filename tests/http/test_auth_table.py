"""Who may come in, and who may not any more: the table of credentials, over the wire."""

import asyncio
import base64
import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from pydantic import ValidationError

from provider import Answer, Provider
from runnel.errors import StartupError
from runnel.settings import Settings
from serving import LiveServer, Signed
from wire import (
    NOBODYS_ID,
    House,
    Serve,
    bearer,
    but_id,
    cells,
    claims_of,
    forged,
    models_of,
    now,
    problem,
    query,
)

END_SECONDS: Final = 5
PRODUCTION_SECRET: Final = "a secret of production, long enough to sign"


@dataclass(frozen=True, slots=True)
class Known:
    """What the table's credentials are made of."""

    house: House
    good: str
    refresh: str
    logged_out: str
    disabled: str
    deleted: str

    @property
    def claims(self) -> dict[str, Any]:
        return claims_of(self.good)

    def forged(self, claims: dict[str, Any] | None = None, **options: Any) -> str:
        return forged(self.house.server, claims or self.claims, **options)

    def without(self, claim: str) -> str:
        return self.forged({name: v for name, v in self.claims.items() if name != claim})

    def unsigned(self, header: dict[str, Any], signature: str = "") -> str:
        parts = (json.dumps(part).encode() for part in (header, self.claims))
        encoded = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
        return ".".join((*encoded, signature))

    def with_header(self, header: dict[str, Any]) -> str:
        """A header that lies about the algorithm of a signature that is right for HS256."""
        return self.forged(headers=header)


@pytest.fixture(scope="module")
def known(house: House) -> Known:
    pairs = {
        name: house.login(house.server.user(name))
        for name in ("good", "logged-out", "disabled", "deleted")
    }
    tokens = {name: pair["access_token"] for name, pair in pairs.items()}
    house.http.post("/logout", headers=bearer(tokens["logged-out"])).raise_for_status()
    house.http.delete("/me", headers=bearer(tokens["deleted"])).raise_for_status()
    house.server.call(house.server.server.administration.disable("disabled"))
    return Known(
        house,
        good=tokens["good"],
        refresh=pairs["good"]["refresh_token"],
        logged_out=tokens["logged-out"],
        disabled=tokens["disabled"],
        deleted=tokens["deleted"],
    )


Header = Callable[[Known], "str | bytes | None"]


def _bearer(token: Callable[[Known], str]) -> Header:
    return lambda known: f"Bearer {token(known)}"


CREDENTIALS: Final[dict[str, Header]] = {
    "none": lambda _: None,
    "empty": lambda _: "",
    "bearer alone": lambda _: "Bearer",
    "another scheme": lambda _: "Basic Og==",
    "another scheme, right token": lambda known: f"Token {known.good}",
    "no scheme": lambda known: known.good,
    "garbage": lambda _: "Bearer garbage",
    "garbage in three parts": lambda _: "Bearer a.b.c",
    "not ascii": lambda _: "Bearer \u00fc\u00e9\u20ac".encode(),
    "not utf-8": lambda _: b"Bearer \xff\xfe\x80",
    "not ascii at all": lambda _: b"\xff\xfe\x80",
    "two tokens": lambda known: f"Bearer {known.good} {known.good}",
    "9 KB of nothing": lambda _: f"Bearer {'x' * 9216}",
    "9 KB, signed by us": _bearer(lambda known: known.forged(known.claims | {"p": "x" * 6700})),
    "unknown api key": lambda _: f"Bearer rnl_{'x' * 43}",
    "unfit api key": lambda _: "Bearer rnl_\u00fc".encode(),
    "expired": _bearer(lambda known: known.forged(known.claims | {"exp": now() - 1})),
    "HS384": _bearer(lambda known: known.forged(algorithm="HS384")),
    "HS512": _bearer(lambda known: known.forged(algorithm="HS512")),
    "a header that says HS384": _bearer(lambda known: known.with_header({"alg": "HS384"})),
    "a header that says RS256": _bearer(lambda known: known.with_header({"alg": "RS256"})),
    "a header that says none": _bearer(lambda known: known.with_header({"alg": "none"})),
    "none, unsigned": _bearer(lambda known: known.unsigned({"alg": "none", "typ": "JWT"})),
    "none, padded": _bearer(lambda known: known.unsigned({"alg": "none"}, "A" * 43)),
    **{
        f"without {claim}": _bearer(lambda known, claim=claim: known.without(claim))
        for claim in ("exp", "aud", "sub", "jti", "iat", "iss", "typ", "login")
    },
    "integer sub": _bearer(lambda known: known.forged(known.claims | {"sub": 1})),
    "another's sub": _bearer(lambda known: known.forged(known.claims | {"sub": NOBODYS_ID})),
    "another audience": _bearer(lambda known: known.forged(known.claims | {"aud": "other"})),
    "another issuer": _bearer(lambda known: known.forged(known.claims | {"iss": "other"})),
    "issued tomorrow": _bearer(lambda known: known.forged(known.claims | {"iat": now() + 86_400})),
    "refresh token": _bearer(lambda known: known.refresh),
    "logged out": _bearer(lambda known: known.logged_out),
    "disabled": _bearer(lambda known: known.disabled),
    "deleted": _bearer(lambda known: known.deleted),
    "another secret": _bearer(lambda known: known.forged(secret=PRODUCTION_SECRET)),
    "signature of another": _bearer(
        lambda known: f"{known.good.rpartition('.')[0]}.{known.disabled.rpartition('.')[2]}"
    ),
}
PROTECTED: Final[dict[str, tuple[str, str, bytes | None]]] = {
    "me": ("GET", "/me", None),
    "chat": ("POST", "/chat", b'{"message": "hi"}'),
    "generation": ("GET", f"/api/generations/{NOBODYS_ID}", None),
}


@pytest.mark.parametrize("route", PROTECTED)
@pytest.mark.parametrize("credential", CREDENTIALS)
def test_who_is_not_signed_in_is_refused(known: Known, credential: str, route: str) -> None:
    header = CREDENTIALS[credential](known)
    method, path, content = PROTECTED[route]
    asked = len(known.house.provider.asks)
    headers = [(b"Content-Type", b"application/json")]
    if header is not None:
        value = header if isinstance(header, bytes) else header.encode()
        headers.append((b"Authorization", value))
    answer = known.house.http.request(method, path, content=content, headers=headers)
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(known.house.provider.asks) == asked


def test_the_tables_good_token_is_good_on_every_route(known: Known) -> None:
    answers = [
        known.house.http.request(method, path, content=content, headers=bearer(known.good))
        for method, path, content in PROTECTED.values()
    ]
    assert [answer.status_code for answer in answers[::2]] == [200, 404]
    assert known.house.ask(Signed("good", "", known.good))["finish_reason"] == "stop"
    assert known.house.http.get("/me", headers=bearer(known.forged())).status_code == 200


def test_all_tokens_that_do_not_hold_are_refused_in_the_same_words(known: Known) -> None:
    bodies = [
        but_id(known.house.http.get("/me", headers=bearer(token)).json())
        for token in (
            "garbage",
            known.without("exp"),
            known.refresh,
            known.logged_out,
            known.disabled,
            known.deleted,
            f"rnl_{'x' * 43}",
        )
    ]
    assert all(body == bodies[0] for body in bodies)


@pytest.mark.parametrize("path", ["/chat", "/api/generate", "/api/keys", "/me/password"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"{}", b"[" * 10_000, b"x" * (1024 * 1024 + 1)],
    ids=["empty", "malformed", "not utf-8", "array", "object", "deep", "too large"],
)
def test_who_asks_is_checked_before_what_is_asked(house: House, path: str, content: bytes) -> None:
    answer = house.http.post(path, content=content, headers={"Content-Type": "application/json"})
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_anothers_generation_answers_as_an_unknown_one(
    house: House, ada: Signed, bob: Signed
) -> None:
    generation = house.ask(ada)["generation_id"]
    foreign, unknown = (
        house.http.get(f"/api/generations/{id_}", headers=bob.headers)
        for id_ in (generation, NOBODYS_ID)
    )
    assert but_id(problem(foreign, 404, "not_found")) == but_id(problem(unknown, 404, "not_found"))
    assert house.http.get(f"/api/generations/{generation}", headers=ada.headers).status_code == 200


@pytest.mark.parametrize("path", ["/chat", "/api/generate"])
def test_anothers_session_answers_as_an_unknown_one(
    house: House, ada: Signed, bob: Signed, path: str
) -> None:
    session = house.ask(ada)["session_id"]
    foreign, unknown = (
        house.http.post(path, json={"message": "hi", "session_id": id_}, headers=bob.headers)
        for id_ in (session, NOBODYS_ID)
    )
    assert but_id(problem(foreign, 404, "not_found")) == but_id(problem(unknown, 404, "not_found"))
    assert house.ask(ada, session_id=session)["session_id"] == session


def test_anothers_session_name_is_free_for_oneself(house: House, ada: Signed, bob: Signed) -> None:
    first = house.ask(ada, session_id="shopping")["session_id"]
    assert house.ask(bob, session_id="shopping")["session_id"] != first
    assert house.ask(ada, session_id="shopping")["session_id"] == first


@contextmanager
def counted_hashing(server: LiveServer) -> Generator[list[str]]:
    """What the server's password hasher was asked to do."""
    passwords = server.server.parts.accounts._passwords
    real, done = passwords._hasher, list[str]()

    class Counting:
        def hash(self, secret: bytes) -> str:
            done.append("hash")
            return real.hash(secret)

        def verify(self, secret: bytes, hash: str) -> bool:  # noqa: A002 - passlib's name
            done.append("verify")
            return real.verify(secret, hash)

    passwords._hasher = Counting()
    try:
        yield done
    finally:
        passwords._hasher = real


@pytest.mark.parametrize("door", ["/login", "/token"])
def test_unknown_user_and_wrong_password_are_refused_alike_for_the_same_work(
    house: House, known: Known, ada: Signed, door: str
) -> None:
    assert known.disabled  # it is there, and refused like one that is not
    answers: list[dict[str, Any]] = []
    for username, password in (
        (ada.username, "not the password"),
        (ada.username.upper(), "not the password"),
        ("nobody", "not the password"),
        ("no name at all \0 \N{SNOWMAN}", "not the password"),
        ("", ""),
        ("guest", "!"),
        ("disabled", "password of disabled"),
        ("n" * 4096, "not the password"),
    ):
        body = {"username": username, "password": password}
        with counted_hashing(house.server) as done:
            if door == "/login" or not username:  # an OAuth2 form takes no empty name
                answer = house.http.post("/login", json=body)
            else:
                answer = house.http.post(door, data=body)
        assert done == ["verify"]
        assert answer.headers["www-authenticate"] == "Bearer"
        answers.append(but_id(problem(answer, 401, "unauthorized")))
    assert all(answer == answers[0] for answer in answers)


async def test_of_two_refreshes_at_once_one_gets_a_pair_and_one_a_conflict(
    house: House, ada: Signed
) -> None:
    token = house.login(ada)["refresh_token"]
    async with house.server.client() as client:
        for _ in range(20):
            answers = await asyncio.gather(
                *(client.post("/refresh", json={"refresh_token": token}) for _ in range(2))
            )
            won, lost = sorted(answers, key=lambda answer: answer.status_code)
            problem(lost, 409, "conflict")
            assert won.status_code == 200
            assert set(won.json()) == {"access_token", "token_type", "expires_in", "refresh_token"}
            me = await client.get("/me", headers=bearer(won.json()["access_token"]))
            assert me.status_code == 200
            token = won.json()["refresh_token"]


def used_long_ago(server: LiveServer, refresh_token: str) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=11)
    query(
        server,
        "UPDATE refresh_tokens SET used_at = ? WHERE id = ? AND used_at IS NOT NULL",
        moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        claims_of(refresh_token)["jti"],
    )


def test_a_refresh_token_used_again_later_ends_its_family_and_no_other(
    house: House, ada: Signed
) -> None:
    first, another = house.login(ada), house.login(ada)
    second = house.http.post("/refresh", json={"refresh_token": first["refresh_token"]}).json()
    assert house.http.get("/me", headers=bearer(second["access_token"])).status_code == 200
    used_long_ago(house.server, first["refresh_token"])
    for token in (first["refresh_token"], second["refresh_token"]):
        problem(house.http.post("/refresh", json={"refresh_token": token}), 401, "unauthorized")
    for token in (first["access_token"], second["access_token"]):
        problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
    assert house.http.get("/me", headers=bearer(another["access_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "garbage", ""])
def test_only_a_refresh_token_is_refreshed(house: House, ada: Signed, kind: str) -> None:
    token = house.login(ada).get(kind, kind)
    problem(house.http.post("/refresh", json={"refresh_token": token}), 401, "unauthorized")


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_logout_ends_both_tokens_at_once(house: House, ada: Signed, which: str) -> None:
    pair = house.login(ada)
    answer = house.http.post("/logout", headers=bearer(pair["access_token"]))
    assert (answer.status_code, answer.content) == (204, b"")
    if which == "access_token":
        answer = house.http.get("/me", headers=bearer(pair[which]))
    else:
        answer = house.http.post("/refresh", json={"refresh_token": pair[which]})
    problem(answer, 401, "unauthorized")
    assert house.http.get("/me", headers=ada.headers).status_code == 200


class OpenStream:
    """A stream of `chat/gated`, read up to its first token."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.read()
        self.generation_id: str = response.headers["x-generation-id"]
        self._lines = response.iter_lines()
        self.read: list[str] = []
        while self.read[-1:] != ["data: first"]:
            self.read.append(next(self._lines))

    def to_the_end(self) -> list[str]:
        self.read += self._lines
        return self.read


@contextmanager
def streaming(house: House, token: str, **members: Any) -> Generator[OpenStream]:
    body = {"message": "hi", "model": "chat/gated", **members}
    with (
        httpx.Client(base_url=house.server.url, timeout=END_SECONDS) as http,
        http.stream("POST", "/api/generate", json=body, headers=bearer(token)) as response,
    ):
        yield OpenStream(response)


def test_logout_ends_the_streams_of_its_login_alone_and_no_answer(
    house: House, ada: Signed, gate: Provider
) -> None:
    leaving, staying = (house.login(ada)["access_token"] for _ in range(2))
    with streaming(house, leaving) as cut, streaming(house, staying) as kept:
        house.http.post("/logout", headers=bearer(leaving)).raise_for_status()
        # The client's own timeout, END_SECONDS, is what would fail here.
        assert "data: [DONE]" not in cut.to_the_end()
        gate.release()
        assert "data: [DONE]" in kept.to_the_end()
    house.settle()
    for stream in (cut, kept):
        path = f"/api/generations/{stream.generation_id}"
        answer = house.http.get(path, headers=bearer(staying)).json()
        assert (answer["status"], answer["text"]) == ("completed", "first second")


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=40)], ids=["token", "login"])
def test_expiry_alone_cuts_no_open_stream(
    house: House,
    ada: Signed,
    gate: Provider,
    monkeypatch: pytest.MonkeyPatch,
    ahead: timedelta,
) -> None:
    token = house.login(ada)["access_token"]
    parts = house.server.server.parts
    logins = parts.accounts._logins
    with streaming(house, token) as stream:
        for owner in (logins, logins._tokens):
            monkeypatch.setattr(owner, "_clock", lambda: datetime.now(UTC) + ahead)
        problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
        house.server.call(parts.watch.look())
        gate.release()
        assert stream.to_the_end()[-2:] == ["data: [DONE]", ""]


@pytest.mark.usefixtures("gate")
def test_disabling_a_user_aborts_what_runs_closes_readers_and_lets_nothing_in(
    house: House, ada: Signed
) -> None:
    pair = house.login(ada)
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    with streaming(house, pair["access_token"]) as stream:
        house.server.call(house.server.server.administration.disable(ada.username))
        stream.to_the_end()
    house.settle()
    assert query(
        house.server,
        "SELECT g.status, m.content FROM generations g JOIN messages m ON m.id = g.message_id"
        " WHERE g.id = ?",
        stream.generation_id,
    ) == [("aborted", "first")]
    for token in (pair["access_token"], ada.token, key):
        problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
    for path, body in (
        ("/login", {"username": ada.username, "password": ada.password}),
        ("/refresh", {"refresh_token": pair["refresh_token"]}),
    ):
        problem(house.http.post(path, json=body), 401, "unauthorized")


def test_who_is_enabled_again_has_the_keys_but_not_the_logins(house: House, ada: Signed) -> None:
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    administration = house.server.server.administration
    house.server.call(administration.disable(ada.username))
    house.server.call(administration.enable(ada.username))
    problem(house.http.get("/me", headers=ada.headers), 401, "unauthorized")
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
    assert house.login(ada)


@pytest.mark.usefixtures("gate")
def test_deleting_the_own_account_aborts_what_runs_and_leaves_nothing(
    house: House, ada: Signed
) -> None:
    user_id = house.http.get("/me", headers=ada.headers).json()["id"]
    house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).raise_for_status()
    finished = house.ask(ada, "remember me", session_id="named-by-ada")
    with streaming(house, ada.token, session_id="running-of-ada") as stream:
        traces = {user_id, ada.username, "remember me", "named-by-ada", "running-of-ada"}
        traces |= {finished[id_] for id_ in ("session_id", "generation_id", "message_id")}
        traces |= {stream.generation_id, claims_of(ada.token)["login"]}
        found = {cell for _, cell in cells(house.server) if cell in traces}
        assert found == traces
        answer = house.http.delete("/me", headers=ada.headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert not [cell for cell in cells(house.server) if cell[1] in traces]
        stream.to_the_end()
    house.settle()
    assert not [cell for cell in cells(house.server) if cell[1] in traces]
    problem(house.http.get("/me", headers=ada.headers), 401, "unauthorized")
    body = {"username": ada.username, "password": ada.password}
    problem(house.http.post("/login", json=body), 401, "unauthorized")
    assert house.server.user(ada.username).token  # the name is free again


def test_the_last_admin_stays_and_so_does_what_it_has(serve: Serve) -> None:
    server = serve()
    administration = server.server.administration
    token = server.call(administration.issue_token("admin"))
    with httpx.Client(base_url=server.url) as http:
        problem(http.delete("/me", headers=bearer(token)), 409, "conflict")
        assert http.get("/me", headers=bearer(token)).json()["role"] == "admin"


def test_an_api_key_is_shown_once_and_works_until_it_is_revoked(
    house: House, ada: Signed, bob: Signed
) -> None:
    created = house.http.post("/api/keys", json={"name": "laptop"}, headers=ada.headers)
    assert created.status_code == 201
    made = created.json()
    key = made.pop("key")
    assert re.fullmatch(r"rnl_[A-Za-z0-9_-]{43}", key)
    assert set(made) == {"id", "name", "prefix", "created_at"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", made["created_at"])
    listed = house.http.get("/api/keys", headers=bearer(key))
    assert listed.json() == {"keys": [made], "next_cursor": None}
    assert house.http.get("/api/keys", headers=bob.headers).json()["keys"] == []
    assert house.ask(Signed("", "", key))["text"] == "Hello world"
    path = f"/api/keys/{made['id']}"
    foreign, unknown = (
        house.http.delete(p, headers=bob.headers) for p in (path, f"/api/keys/{NOBODYS_ID}")
    )
    assert but_id(problem(foreign, 404, "not_found")) == but_id(problem(unknown, 404, "not_found"))
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
    assert house.http.delete(path, headers=ada.headers).status_code == 204
    problem(house.http.get("/me", headers=bearer(key)), 401, "unauthorized")
    problem(house.http.delete(path, headers=ada.headers), 404, "not_found")
    assert house.http.get("/api/keys", headers=ada.headers).json()["keys"] == []


def test_an_api_key_needs_no_body(house: House, ada: Signed) -> None:
    answer = house.http.post("/api/keys", headers=ada.headers)
    assert answer.status_code == 201
    assert answer.json()["name"] == ""


@pytest.mark.usefixtures("gate")
def test_revoking_an_api_key_ends_its_streams(house: House, ada: Signed) -> None:
    made = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()
    with streaming(house, made["key"]) as stream:
        house.http.delete(f"/api/keys/{made['id']}", headers=ada.headers).raise_for_status()
        assert "data: [DONE]" not in stream.to_the_end()


def test_an_api_key_is_not_logged_out(house: House, ada: Signed) -> None:
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    problem(house.http.post("/logout", headers=bearer(key)), 409, "conflict")
    assert house.http.get("/me", headers=bearer(key)).status_code == 200


def test_registration_is_closed_unless_it_is_opened(house: House) -> None:
    body = {"username": "newcomer", "password": "a password of mine"}
    problem(house.http.post("/register", json=body), 403, "forbidden")
    problem(house.http.post("/login", json=body), 401, "unauthorized")


def test_who_registers_where_that_is_open_can_log_in(serve: Serve) -> None:
    server = serve(registration="open")
    with httpx.Client(base_url=server.url) as http:
        body = {"username": "newcomer", "password": "a password of mine"}
        made = http.post("/register", json=body)
        assert made.status_code == 201
        assert made.json() == {"id": made.json()["id"], "username": "newcomer", "role": "user"}
        token = http.post("/login", json=body).json()["access_token"]
        assert http.get("/me", headers=bearer(token)).json()["username"] == "newcomer"
        again = http.post("/register", json=body | {"username": "NewComer"})
        problem(again, 409, "conflict", more={"errors"})
        for field, changed in (
            ("username", {"username": "me"}),
            ("username", {"username": "guest"}),
            ("username", {"username": ""}),
            ("username", {"username": "a b"}),
            ("username", {"username": NOBODYS_ID}),
            ("username", {"username": "x" * 65}),
            ("password", {"username": "other", "password": "short"}),
            ("password", {"username": "other", "password": "x" * 1025}),
        ):
            refused = http.post("/register", json=body | changed)
            errors = problem(refused, 422, "invalid_request", more={"errors"})["errors"]
            assert [error["field"] for error in errors] == [field]


def test_changing_the_password_ends_every_login_and_no_key(house: House, ada: Signed) -> None:
    pairs = [house.login(ada) for _ in range(2)]
    key = house.http.post("/api/keys", json={"name": "k"}, headers=ada.headers).json()["key"]
    new = "another password of mine"
    answer = house.http.post(
        "/me/password",
        json={"current_password": ada.password, "new_password": new},
        headers=bearer(pairs[0]["access_token"]),
    )
    assert (answer.status_code, answer.content) == (204, b"")
    for pair in pairs:
        for token in (pair["access_token"], ada.token):
            problem(house.http.get("/me", headers=bearer(token)), 401, "unauthorized")
        body = {"refresh_token": pair["refresh_token"]}
        problem(house.http.post("/refresh", json=body), 401, "unauthorized")
    assert house.http.get("/me", headers=bearer(key)).status_code == 200
    body = {"username": ada.username, "password": ada.password}
    problem(house.http.post("/login", json=body), 401, "unauthorized")
    assert house.http.post("/login", json=body | {"password": new}).status_code == 200


def test_a_password_is_not_changed_without_the_old_one_nor_to_a_weak_one(
    house: House, ada: Signed
) -> None:
    for current, new, status, code, field in (
        ("wrong", "another password", 403, "forbidden", "current_password"),
        (ada.password, "short", 422, "invalid_request", "new_password"),
        (ada.password, "password", 422, "invalid_request", "new_password"),
    ):
        body = {"current_password": current, "new_password": new}
        answer = house.http.post("/me/password", json=body, headers=ada.headers)
        errors = problem(answer, status, code, more={"errors"})["errors"]
        assert [error["field"] for error in errors] == [field]
    assert house.login(ada)


@pytest.mark.parametrize("basic", [None, "Basic Og=="], ids=["alone", "as Swagger UI sends it"])
def test_the_password_form_gives_a_token(house: House, ada: Signed, basic: str | None) -> None:
    headers = {"Authorization": basic} if basic else {}
    form = {"grant_type": "password", "username": ada.username, "password": ada.password}
    answer = house.http.post("/token", data=form, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert house.http.get("/me", headers=bearer(answer.json()["access_token"])).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"username": "ada"}},
        {"data": {"username": "ada", "password": "p", "grant_type": "code"}},
        {"json": {"username": "ada", "password": "p"}},
        {
            "content": b"\xff\xfe%zz",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
    ],
    ids=["no password", "another grant", "json", "bytes", "cut multipart", "no boundary"],
)
def test_a_password_form_that_is_none_is_refused(house: House, sent: dict[str, Any]) -> None:
    answer = house.http.post("/token", **sent)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_is_good_for_as_long_as_it_says(house: House, ada: Signed) -> None:
    pair = house.login(ada)
    claims = claims_of(pair["access_token"])
    assert pair["expires_in"] == 3600 == claims["exp"] - claims["iat"]
    assert claims_of(pair["refresh_token"])["exp"] - claims["iat"] == 30 * 86_400


def test_with_anonymous_access_who_comes_without_credentials_is_the_guest(serve: Serve) -> None:
    server = serve(anonymous_access=True)
    with httpx.Client(base_url=server.url) as http:
        me = http.get("/me").json()
        assert (me["username"], me["role"]) == ("guest", "user")
        assert http.post("/chat", json={"message": "hi"}).json()["finish_reason"] == "stop"
        for header in ("Bearer garbage", "Basic Og==", ""):
            answer = http.get("/me", headers={"Authorization": header})
            problem(answer, 401, "unauthorized")
        problem(http.post("/logout"), 409, "conflict")
        problem(http.post("/api/keys", json={"name": "k"}), 403, "forbidden")
        password = {"current_password": "!", "new_password": "a password of mine"}
        problem(http.post("/me/password", json=password), 403, "forbidden")
        problem(http.delete("/me"), 403, "forbidden")
        assert http.get("/me").json()["id"] == me["id"]


def test_one_guest_cannot_abort_anothers_answer(serve: Serve, provider: Provider) -> None:
    provider.answer("test", Answer(pieces=("first", " second"), gate_after=1))
    server = serve(models=models_of(provider), anonymous_access=True)
    with (
        httpx.Client(base_url=server.url) as http,
        http.stream("POST", "/api/generate", json={"message": "hi"}) as response,
    ):
        stream = OpenStream(response)
        problem(httpx.delete(f"{server.url}/me"), 403, "forbidden")
        provider.release()
        assert "data:  second" in stream.to_the_end()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"anonymous_access": True, "jwt_secret": PRODUCTION_SECRET}, "ANONYMOUS_ACCESS"),
        ({}, "JWT_SECRET"),
        ({"jwt_secret": "short"}, "bytes"),
    ],
    ids=["anonymous", "no secret", "short secret"],
)
def test_production_refuses_what_is_for_development(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(environment="production", **changes)
    assert Settings(environment="production", jwt_secret=PRODUCTION_SECRET)  # pyright: ignore[reportArgumentType]


def test_production_refuses_a_weak_admin_password(serve: Serve) -> None:
    with pytest.raises(StartupError, match="ADMIN_PASSWORD"):
        serve(environment="production", jwt_secret=PRODUCTION_SECRET, admin_password="password")


def test_development_takes_a_weak_admin_password(serve: Serve) -> None:
    server = serve(admin_password="password")
    body = {"username": "admin", "password": "password"}
    assert httpx.post(f"{server.url}/login", json=body).status_code == 200
