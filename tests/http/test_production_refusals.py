"""Production refuses the settings that only development may have."""

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from runnel.errors import StartupError
from runnel.settings import Settings
from wire import (
    PRODUCTION_SECRET,
    Serve,
)


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
