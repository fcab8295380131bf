"""The one wrapper of python-jose: signs our tokens and reads only what we signed.

On its own jose accepts tokens without `exp`, ignores a missing `aud` and takes any algorithm;
here the algorithm is pinned and every claim is required and checked (RFC 7519, RFC 8725).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, cast

from jose import jwk, jws
from jose.exceptions import JOSEError

from runnel.errors import Code, RunnelError, StartupError

TokenType = Literal["access", "refresh", "ticket", "socket"]

LEAST_SECRET_BYTES: Final = 32
MOST_TOKEN_CHARACTERS: Final = 8192
#: Of so many tokens it is remembered that we signed them; of others it is not.
MOST_REMEMBERED: Final = 1024
#: How far, in seconds, another instance's clock may be ahead of ours.
LEEWAY_SECONDS: Final = 60
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "runnel"
# Three segments of base64url. The last character of a signature of 256 bits has two bits to
# spare: with those zero, and nothing else for a decoder to overlook, a token has one spelling.
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times are whole seconds since 1970; `login_id` is its family.

    `generation_id` is what a ticket is good for; no other token has one. A ticket's `login_id`, of a
    `socket` too, may be an API key's, or empty for the guest.
    """

    type: TokenType
    id: str
    user_id: str
    login_id: str
    issued_at: int
    expires_at: int
    generation_id: str | None = None


def refused() -> RunnelError:
    """The one answer to every credential that does not hold, whatever the reason."""
    return RunnelError(
        Code.UNAUTHORIZED, "The token or API key is not valid, or not any more. Log in again."
    )


class Tokens:
    """Signs and reads with one secret. Raises StartupError for a secret that is none."""

    def __init__(self, secret: str, *, clock: Callable[[], datetime]) -> None:
        key = secret.encode()
        if len(key) < LEAST_SECRET_BYTES:
            raise StartupError(f"The JWT secret has fewer than {LEAST_SECRET_BYTES} bytes.")
        try:
            # Built once, as jose would read JSON or a list of keys into a plain string.
            self._key = jwk.construct(key, _ALGORITHM)
        except JOSEError:
            raise StartupError(
                "The JWT secret is a public key or certificate; it has to be a random text."
            ) from None
        self._clock = clock
        # A token says for good what it says; whether that holds still is looked at each time.
        self._verified = lru_cache(MOST_REMEMBERED)(self._verify)

    def sign(self, claims: Claims) -> str:
        said: dict[str, object] = {
            "iss": _ISSUER,
            "aud": _ISSUER,
            "typ": claims.type,
            "jti": claims.id,
            "sub": claims.user_id,
            "login": claims.login_id,
            "iat": claims.issued_at,
            "exp": claims.expires_at,
        }
        if claims.generation_id is not None:
            said["generation"] = claims.generation_id
        return jws.sign(said, self._key, algorithm=_ALGORITHM)

    def read(self, token: str, expected: TokenType) -> Claims:
        """What a token of ours says. Raises RunnelError `unauthorized` for all else."""
        claims = self._verified(token)
        if claims.type != expected:
            raise refused()
        now = self._clock().timestamp()
        if claims.expires_at <= now or claims.issued_at > now + LEEWAY_SECONDS:
            raise refused()
        return claims

    def _verify(self, token: str) -> Claims:
        if len(token) > MOST_TOKEN_CHARACTERS or not _FORM.fullmatch(token):
            raise refused()
        try:
            claims = _claims(json.loads(jws.verify(token, self._key, [_ALGORITHM])))
        # Fuzzed, jose 3.5 lets RecursionError out, for a header of many brackets, beside its own;
        # json adds ValueError. The other two are what its untyped parts would raise.
        except (JOSEError, ValueError, RecursionError, TypeError, AttributeError):
            raise refused() from None
        if claims is None:
            raise refused()
        return claims


def _claims(payload: object) -> Claims | None:
    if not isinstance(payload, dict):
        return None
    claims = cast("dict[str, object]", payload)
    if claims.get("iss") != _ISSUER or claims.get("aud") != _ISSUER:
        return None
    kind = claims.get("typ")
    if kind not in ("access", "refresh", "ticket", "socket"):
        return None
    generation_id = claims.get("generation")
    if isinstance(generation_id, str) != (kind == "ticket"):
        return None
    match claims:
        case {
            "jti": str(token_id),
            "sub": str(user_id),
            "login": str(login_id),
            "iat": int(issued_at),
            "exp": int(expires_at),
        }:
            return Claims(
                kind,
                token_id,
                user_id,
                login_id,
                issued_at,
                expires_at,
                generation_id if isinstance(generation_id, str) else None,
            )
        case _:
            return None
