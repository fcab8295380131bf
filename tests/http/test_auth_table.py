"""Who may come in, and who may not any more: the table of credentials, over the wire."""

import base64
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest

from serving import LiveServer, Signed
from wire import (
    NOBODYS_ID,
    PRODUCTION_SECRET,
    House,
    bearer,
    but_id,
    claims_of,
    forged,
    now,
    problem,
)


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
    "generations": ("GET", "/api/generations", None),
    "events": ("GET", f"/api/generations/{NOBODYS_ID}/events", None),
    "abort": ("POST", f"/api/generations/{NOBODYS_ID}/abort", None),
    "tickets": ("POST", "/api/tickets", b'{"generation_id": "%s"}' % NOBODYS_ID.encode()),
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
    headers = bearer(known.good) | {"Content-Type": "application/json"}
    answers = [
        known.house.http.request(method, path, content=content, headers=headers)
        for method, path, content in PROTECTED.values()
    ]
    statuses = dict(zip(PROTECTED, [answer.status_code for answer in answers], strict=True))
    unknown = dict.fromkeys(("generation", "events", "abort", "tickets"), 404)
    assert statuses == {"me": 200, "chat": 200, "generations": 200, **unknown}
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


@pytest.mark.parametrize(
    "path", ["/chat", "/api/generate", "/api/keys", "/me/password", "/api/tickets"]
)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"{}", b"[" * 10_000, b"x" * (1024 * 1024 + 1)],
    ids=["empty", "malformed", "not utf-8", "array", "object", "deep", "too large"],
)
def test_who_asks_is_checked_before_what_is_asked(house: House, path: str, content: bytes) -> None:
    answer = house.http.post(path, content=content, headers={"Content-Type": "application/json"})
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


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
