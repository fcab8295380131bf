"""Another answer to a question, and a question in the place of another: a branch grows."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from runnel.chat.entities import SessionRef
from runnel.edge.asking import EditBody, RegenerateBody
from runnel.edge.deps import SIGNED_IN, Caller
from runnel.edge.http import delivery
from runnel.edge.http.delivery import ANSWERED, SAYS_AGAIN, again_of
from runnel.edge.http.session_paths import named
from runnel.edge.route import AskRoute

router = APIRouter(
    prefix="/api/chat/sessions/{session_id}/messages/{message_id}",
    route_class=AskRoute,
    tags=["sessions"],
    dependencies=[*SIGNED_IN],
)


async def _meant(caller: Caller, session_id: str, message_id: str) -> tuple[SessionRef, str]:
    return named(session_id, caller), message_id


Meant = Annotated[tuple[SessionRef, str], Depends(_meant)]


@router.post("/regenerate", response_class=Response, responses=ANSWERED, openapi_extra=SAYS_AGAIN)
async def regenerate(
    request: Request,
    caller: Caller,
    meant: Meant,
    body: RegenerateBody | None = None,
) -> Response:
    """Answers a question once more, given its id or that of an answer to it; as /chat does.

    The new answer stands beside the old one, and is of the active branch.
    """
    again, body = again_of(request), body or RegenerateBody()
    ask = body.to_ask(caller, *meant, again.key)
    return await delivery.answered(request, caller, again, ask, body)


@router.post("/edit", response_class=Response, responses=ANSWERED, openapi_extra=SAYS_AGAIN)
async def edit(
    request: Request,
    caller: Caller,
    meant: Meant,
    body: EditBody,
) -> Response:
    """Asks another question in the place of an old one, which stays with its branch; as /chat."""
    again = again_of(request)
    ask = body.to_ask(caller, *meant, again.key)
    return await delivery.answered(request, caller, again, ask, body)
