"""`/api/tickets`: leave to read one answer, for readers that can send no header."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.shapes import TicketShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute

router = APIRouter(route_class=UserRoute, tags=["generations"], dependencies=[*SIGNED_IN])


class TicketBody(BaseModel):
    """What the ticket is to be good for."""

    model_config = ConfigDict(extra="forbid")
    generation_id: str


@router.post("/api/tickets", response_class=Response, responses=shaped(TicketShape))
async def create_ticket(parts: AppParts, caller: Caller, body: TicketBody) -> Response:
    """A ticket for `GET /api/generations/{id}/events?ticket=…`, good for reconnects too."""
    seen = await parts.chat.see(caller.user_id, body.generation_id)
    shown: TicketShape = {
        "ticket": parts.tickets.issue(caller, seen.id),
        "expires_in": parts.tickets.seconds,
    }
    return JsonResponse(shown)
