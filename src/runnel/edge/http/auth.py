"""Signing in and out, and the own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm
from limits import parse
from pydantic import BaseModel, ConfigDict, Field

from runnel.accounts.entities import TokenPair, User
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.shapes import LimitsShape, MeShape, TokensShape, UserShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.limits import caller_key
from runnel.edge.parts import parts_of
from runnel.edge.route import PublicRoute, UserRoute

# Longer than any name or password may be: those answer 401 or 422 by themselves.
Short = Annotated[str, Field(max_length=4096)]


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")
    username: Short
    password: Short


class RefreshBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    refresh_token: Annotated[str, Field(max_length=16_384)]


class PasswordBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    current_password: Short
    new_password: Short


class AttemptRoute(PublicRoute):
    """Counts attempts by address, before anything is looked at."""

    async def admit(self, request: Request) -> None:
        parts = parts_of(request)
        limit = parse(f"{parts.settings.login_attempts_per_minute_per_address}/minute")
        await parts.limiter.admit(request, limit, "attempts", caller_key(request))


attempts = APIRouter(route_class=AttemptRoute, tags=["accounts"])
public = APIRouter(route_class=PublicRoute, tags=["accounts"])
own = APIRouter(route_class=UserRoute, tags=["accounts"], dependencies=[*SIGNED_IN])


@attempts.post("/login", response_class=Response, responses=shaped(TokensShape))
async def login(request: Request, parts: AppParts, body: Credentials) -> Response:
    """An access token, and the refresh token that follows it."""
    await _count_attempt(request, "login", body.username)
    return _tokens(await parts.accounts.login(body.username, body.password))


@attempts.post("/token", response_class=Response, responses=shaped(TokensShape))
async def token(
    request: Request, parts: AppParts, form: Annotated[OAuth2PasswordRequestForm, Depends()]
) -> Response:
    """The same as /login, as an OAuth2 password form."""
    await _count_attempt(request, "login", form.username)
    return _tokens(await parts.accounts.login(form.username, form.password))


@attempts.post(
    "/register", response_class=Response, status_code=201, responses=shaped(UserShape, 201)
)
async def register(parts: AppParts, body: Credentials) -> Response:
    """A new account, where `REGISTRATION=open`."""
    return JsonResponse(_shown(await parts.accounts.register(body.username, body.password)), 201)


@public.post("/refresh", response_class=Response, responses=shaped(TokensShape))
async def refresh(parts: AppParts, body: RefreshBody) -> Response:
    """A new pair of tokens for a refresh token, which is used up by it."""
    return _tokens(await parts.accounts.refresh(body.refresh_token))


@own.post("/logout", response_class=Response, status_code=204)
async def logout(parts: AppParts, caller: Caller) -> Response:
    """Revokes this login: its tokens at once, what it has open within seconds."""
    await parts.accounts.logout(caller)
    return Response(status_code=204)


@own.get("/me", response_class=Response, responses=shaped(MeShape))
async def me(request: Request, parts: AppParts, caller: Caller) -> Response:
    """The own account and how it stands with its limit."""
    user = await parts.accounts.me(caller)
    standing = await parts.limiter.message_standing(request)
    limits: LimitsShape = {
        "used": standing.limit - standing.remaining,
        "limit": standing.limit,
        "reset_in": standing.reset_in,
    }
    shown: MeShape = {**_shown(user), "limits": limits}
    return JsonResponse(shown)


@own.post("/me/password", response_class=Response, status_code=204)
async def change_password(
    request: Request, parts: AppParts, caller: Caller, body: PasswordBody
) -> Response:
    """Changes the own password; every login of the account ends."""
    # A stolen token is no way to guess it; who guesses at /login does not keep the owner from it.
    await _count_attempt(request, "password", caller.user_id)
    await parts.accounts.change_password(caller, body.current_password, body.new_password)
    return Response(status_code=204)


@own.delete("/me", response_class=Response, status_code=204)
async def delete_me(parts: AppParts, caller: Caller) -> Response:
    """Deletes the own account with all its data; what runs is aborted first."""
    await parts.accounts.refuse_undeletable(caller.user_id)
    await parts.purging.purge_user(caller.user_id, lambda: parts.accounts.delete(caller.user_id))
    return Response(status_code=204)


async def _count_attempt(request: Request, scope: str, account: str) -> None:
    parts = parts_of(request)
    limit = parse(f"{parts.settings.login_attempts_per_minute}/minute")
    await parts.limiter.admit(request, limit, scope, account.lower()[:128])


def _tokens(pair: TokenPair) -> Response:
    tokens: TokensShape = {
        "access_token": pair.access_token,
        "token_type": "bearer",
        "expires_in": pair.expires_in,
        "refresh_token": pair.refresh_token,
    }
    return JsonResponse(tokens)


def _shown(user: User) -> UserShape:
    return {"id": user.id, "username": user.username, "role": user.role}
