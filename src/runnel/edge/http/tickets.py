"""`/api/tickets`: leave to read one answer or to open one WebSocket, for what sends no header."""

from typing import Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, model_validator
from starlette.responses import Response

from runnel.accounts.tickets import SOCKET_SECONDS
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.shapes import TicketShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute

router = APIRouter(route_class=UserRoute, tags=["generations"], dependencies=[*SIGNED_IN])


class TicketBody(BaseModel):
    """What the ticket is to be good for."""

    model_config = ConfigDict(extra="forbid")
    generation_id: str | None = None
    websocket: Literal[True] | None = None

    @model_validator(mode="after")
    def _for_one_thing(self) -> Self:
        if (self.generation_id is None) == (self.websocket is None):
            raise ValueError('send {"generation_id": "…"} or {"websocket": true}')
        return self


@router.post("/api/tickets", response_class=Response, responses=shaped(TicketShape))
async def create_ticket(parts: AppParts, caller: Caller, body: TicketBody) -> Response:
    """A ticket for `GET /api/generations/{id}/events?ticket=…`, good for reconnects too.

    With `"websocket": true` one for `/ws…?ticket=…`, good once.
    """
    shown: TicketShape
    if body.generation_id is None:
        shown = {"ticket": parts.tickets.issue_for_socket(caller), "expires_in": SOCKET_SECONDS}
    else:
        seen = await parts.chat.see(caller.user_id, body.generation_id)
        shown = {
            "ticket": parts.tickets.issue(caller, seen.id),
            "expires_in": parts.tickets.seconds,
        }
    return JsonResponse(shown)
