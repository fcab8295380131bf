"""`/api/admin/users`: the accounts, for admins."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from runnel.accounts.entities import User
from runnel.accounts.ports import UserChange
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.admin_shapes import (
    ListedUserShape,
    ListedUsersShape,
    ManagedUserShape,
    NewPasswordShape,
    NewUserShape,
)
from runnel.edge.http.auth import Short
from runnel.edge.http.shapes import shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import AdminRoute
from runnel.errors import Code, RunnelError

Role = Literal["user", "admin"]

router = APIRouter(
    prefix="/api/admin/users", route_class=AdminRoute, tags=["admin"], dependencies=[*SIGNED_IN]
)


class NewUserBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    username: Short
    password: Short | None = None
    role: Role = "user"


class ChangeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    disabled: bool | None = Field(default=None, strict=True)
    role: Role | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.disabled is None and self.role is None:
            raise ValueError("say `disabled`, or `role`, or both")
        return self


class NewPasswordBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    password: Short | None = None


@router.get("", response_class=Response, responses=shaped(ListedUsersShape))
async def users(
    parts: AppParts,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
    q: Annotated[str | None, Query(description="A part of the name, in whatever case.")] = None,
) -> Response:
    """The accounts, by their names."""
    page = await parts.managing.page(q, cursor, limit + 1)
    listed: list[ListedUserShape] = [
        {**_shown(each.user), "last_login_at": each.last_login_at} for each in page[:limit]
    ]
    following = page[limit - 1].user.username if len(page) > limit else None
    shown: ListedUsersShape = {"users": listed, "next_cursor": following}
    return JsonResponse(shown)


@router.post("", response_class=Response, status_code=201, responses=shaped(NewUserShape, 201))
async def add_user(parts: AppParts, body: NewUserBody) -> Response:
    """A new account. Without a `password` one is made up; it is in this answer and nowhere else."""
    user, password = await parts.managing.add(body.username, body.password, body.role)
    shown: NewUserShape = {**_shown(user), "password": password}
    return JsonResponse(shown, 201)


@router.patch("/{user_id}", response_class=Response, responses=shaped(ManagedUserShape))
async def change_user(parts: AppParts, caller: Caller, user_id: str, body: ChangeBody) -> Response:
    """Keeps an account out, whose answers, streams and sockets end, or lets it in; another role."""
    change = UserChange(body.disabled, body.role)
    return JsonResponse(_shown(await parts.managing.change(caller, user_id, change)))


@router.post("/{user_id}/password", response_class=Response, responses=shaped(NewPasswordShape))
async def reset_password(
    parts: AppParts, caller: Caller, user_id: str, body: NewPasswordBody | None = None
) -> Response:
    """Another password, made up if none is given; every login of the account ends."""
    given = body.password if body else None
    shown: NewPasswordShape = {
        "password": await parts.managing.reset_password(caller, user_id, given)
    }
    return JsonResponse(shown)


@router.delete("/{user_id}", response_class=Response, status_code=204)
async def delete_user(parts: AppParts, caller: Caller, user_id: str) -> Response:
    """Deletes an account with all its data; what runs is aborted first."""
    if user_id == caller.user_id:
        raise RunnelError(
            Code.CONFLICT, "The own account is deleted with DELETE /me.", retryable=False
        )
    await parts.accounts.refuse_undeletable(user_id)
    await parts.purging.purge_user(user_id, lambda: parts.accounts.delete(user_id))
    return Response(status_code=204)


def _shown(user: User) -> ManagedUserShape:
    return {
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
    }
