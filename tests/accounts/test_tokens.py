"""Tokens: only what we signed, in the one spelling, with every claim, is read."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jose import jwk, jws
from stand_ins import SECRET, StandingClock

from runnel.accounts.tokens import MOST_TOKEN_CHARACTERS, Claims, Tokens, TokenType, refused
from runnel.errors import Code, RunnelError, StartupError

CLOCK = StandingClock()
NOW = int(CLOCK.now.timestamp())
TOKENS = Tokens(SECRET, clock=CLOCK)
CLAIMS = Claims("access", "token-1", "user-1", "login-1", NOW, NOW + 3600)
TOKEN = TOKENS.sign(CLAIMS)
PAYLOAD: dict[str, object] = json.loads(jws.get_unverified_claims(TOKEN))


def forge(
    payload: object = PAYLOAD,
    *,
    secret: str = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, object] | None = None,
) -> str:
    key = jwk.construct(secret.encode(), algorithm)
    return jws.sign(json.dumps(payload).encode(), key, headers, algorithm)


def without(claim: str) -> str:
    return forge({name: value for name, value in PAYLOAD.items() if name != claim})


def unsigned(header: bytes, signature: str = "A" * 43) -> str:
    return f"{segment(header)}.{segment(json.dumps(PAYLOAD).encode())}.{signature}"


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def is_refused(token: str, kind: TokenType = "access") -> bool:
    with pytest.raises(RunnelError) as caught:
        TOKENS.read(token, kind)
    same = caught.value.message == refused().message
    return same and caught.value.code is Code.UNAUTHORIZED


def test_what_is_signed_is_read() -> None:
    assert TOKENS.read(TOKEN, "access") == CLAIMS
    assert TOKENS.read(forge(), "access") == CLAIMS


@pytest.mark.parametrize("claim", sorted(PAYLOAD))
def test_every_claim_is_required(claim: str) -> None:
    assert is_refused(without(claim))


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": 7},
        {"sub": None},
        {"jti": 7},
        {"login": ["login-1"]},
        {"exp": str(NOW + 3600)},
        {"exp": NOW + 3600.5},
        {"exp": None},
        {"exp": NOW},
        {"exp": -1},
        {"iat": "yesterday"},
        {"iat": NOW + 62},
        {"iat": 10**400},
        {"iss": "another"},
        {"aud": "another"},
        {"aud": ["runnel"]},
        {"typ": "ticket"},
        {"typ": ["access"]},
        {"typ": {}},
    ],
    ids=str,
)
def test_every_claim_is_checked(changed: dict[str, object]) -> None:
    assert is_refused(forge(PAYLOAD | changed))


@pytest.mark.parametrize("payload", [None, [], [PAYLOAD], "text", 7, {}], ids=str)
def test_a_payload_that_is_no_claims_set_is_refused(payload: object) -> None:
    assert is_refused(forge(payload))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "Bearer " + TOKEN,
        " " + TOKEN,
        TOKEN + "\n",
        TOKEN + "=",
        TOKEN + ".",
        TOKEN[:-1],
        "\0",
        "\ud800.\ud800.\ud800",
        "é" * 100,
        forge(secret="another secret, which is long enough too"),
        forge(algorithm="HS512"),
        forge(algorithm="HS384"),
        forge(headers={"alg": "none"}),
        forge(headers={"alg": "RS256"}),
        forge(headers={"alg": ["HS256"]}),
        forge(headers={"alg": None}),
        unsigned(b'{"alg":"none"}'),
        unsigned(b'{"alg":"none"}', ""),
        unsigned(b'{"alg":"HS256"}'),
        unsigned(b'{"alg":{}}'),
        unsigned(b"[]"),
        unsigned(b"null"),
        unsigned(b"7"),
        unsigned(b"\xff\xfe"),
        unsigned(b"{"),
        unsigned(b"[" * 5000),
        unsigned(b'{"alg":' + b"9" * 5000 + b"}"),
        "A" + unsigned(b"{}"),
    ],
)
def test_garbage_and_foreign_tokens_are_refused(token: str) -> None:
    assert is_refused(token)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"NaN", b"[" * 4000, b"9" * 5000])
def test_a_payload_that_is_no_json_is_refused(payload: bytes) -> None:
    assert is_refused(jws.sign(payload, jwk.construct(SECRET.encode(), "HS256")))


def test_a_signature_has_one_spelling() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(TOKEN[-1]) + 1]
    # jose itself would read it: the two bits that differ are beyond the signature.
    assert jws.verify(TOKEN[:-1] + spare, jwk.construct(SECRET.encode(), "HS256"), ["HS256"])
    assert is_refused(TOKEN[:-1] + spare)


def test_a_token_over_the_bound_is_refused_though_it_is_ours() -> None:
    padded = forge(PAYLOAD | {"padding": "x" * 6000})
    assert 8192 < len(padded) < 9 * 1024
    assert is_refused(padded)
    assert len(TOKEN) < MOST_TOKEN_CHARACTERS


def test_a_refresh_token_is_no_access_token_nor_the_other_way_round() -> None:
    refresh = TOKENS.sign(Claims("refresh", "token-2", "user-1", "login-1", NOW, NOW + 3600))
    assert TOKENS.read(refresh, "refresh").id == "token-2"
    assert is_refused(refresh)
    assert is_refused(TOKEN, "refresh")


def test_an_expired_token_is_refused() -> None:
    clock = StandingClock()
    tokens = Tokens(SECRET, clock=clock)
    clock.advance(3599)
    assert tokens.read(TOKEN, "access") == CLAIMS
    clock.advance(1)
    with pytest.raises(RunnelError):
        tokens.read(TOKEN, "access")


def test_an_issuer_whose_clock_is_a_little_ahead_is_believed() -> None:
    assert TOKENS.read(forge(PAYLOAD | {"iat": NOW + 60}), "access").issued_at == NOW + 60


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15])
def test_a_short_secret_is_refused(secret: str) -> None:
    with pytest.raises(StartupError):
        Tokens(secret, clock=CLOCK)


def test_a_public_key_is_no_secret() -> None:
    with pytest.raises(StartupError):
        Tokens("-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----", clock=CLOCK)


@pytest.mark.parametrize(
    "secret",
    ['"a secret in quotes, which is JSON"', '{"keys": [], "and": "padding of it"}', "1" * 40],
)
def test_a_secret_that_reads_as_json_is_a_secret_like_any_other(secret: str) -> None:
    tokens = Tokens(secret, clock=CLOCK)
    assert tokens.read(tokens.sign(CLAIMS), "access") == CLAIMS
    with pytest.raises(RunnelError):
        tokens.read(TOKEN, "access")


Mutation = Callable[[str], str]


def _replace(at: int, text: str) -> Mutation:
    return lambda token: token[: at % len(token)] + text + token[at % len(token) + len(text) :]


def _insert(at: int, text: str) -> Mutation:
    return lambda token: token[: at % len(token)] + text + token[at % len(token) :]


def _cut(at: int, length: int) -> Mutation:
    return lambda token: token[: at % len(token)] + token[at % len(token) + length :]


PLACES = st.integers(0, len(TOKEN))
TEXTS = st.text(min_size=1, max_size=4) | st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/", min_size=1, max_size=4
)
MUTATIONS = st.lists(
    st.builds(_replace, PLACES, TEXTS)
    | st.builds(_insert, PLACES, TEXTS)
    | st.builds(_cut, PLACES, st.integers(1, 8)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=400, deadline=None)
@given(MUTATIONS)
def test_no_other_spelling_of_a_token_is_read(mutations: list[Mutation]) -> None:
    mutated = TOKEN
    for mutate in mutations:
        mutated = mutate(mutated or ".")
    assert mutated == TOKEN or is_refused(mutated)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["alg", "typ", "crit", "kid", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_whatever_a_header_holds_a_forged_token_is_refused(header: object) -> None:
    assert is_refused(unsigned(json.dumps(header).encode()))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(PAYLOAD)), JSON, min_size=1))
def test_whatever_a_claim_holds_nothing_but_a_refusal_comes_of_it(
    changed: dict[str, object],
) -> None:
    try:
        claims = TOKENS.read(forge(PAYLOAD | changed), "access")
    except RunnelError as error:
        assert error.code is Code.UNAUTHORIZED  # noqa: PT017 - most are refused, some are good
    else:
        assert isinstance(claims.user_id, str)
        assert claims.expires_at > NOW


@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert is_refused(text)
