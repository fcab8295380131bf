"""`/api/keys`: long-lived keys for scripts. A key's text is shown once."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from runnel.accounts.entities import ApiKey
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.shapes import KeyShape, KeysShape, NewKeyShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute

router = APIRouter(
    prefix="/api/keys", route_class=UserRoute, tags=["accounts"], dependencies=[*SIGNED_IN]
)


class KeyBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=128)] = ""


@router.post("", response_class=Response, status_code=201, responses=shaped(NewKeyShape, 201))
async def create_key(parts: AppParts, caller: Caller, body: KeyBody | None = None) -> Response:
    """A new key. Its text is in this answer and nowhere else."""
    key, text = await parts.accounts.create_key(caller, body.name if body else "")
    shown: NewKeyShape = {**_shown(key), "key": text}
    return JsonResponse(shown, 201)


@router.get("", response_class=Response, responses=shaped(KeysShape))
async def list_keys(parts: AppParts, caller: Caller) -> Response:
    """The own keys, without their texts."""
    keys = await parts.accounts.list_keys(caller)
    shown: KeysShape = {"keys": [_shown(key) for key in keys], "next_cursor": None}
    return JsonResponse(shown)


@router.delete("/{key_id}", response_class=Response, status_code=204)
async def delete_key(parts: AppParts, caller: Caller, key_id: str) -> Response:
    """Revokes a key at once."""
    await parts.accounts.delete_key(caller, key_id)
    return Response(status_code=204)


def _shown(key: ApiKey) -> KeyShape:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "created_at": key.created_at,
    }
