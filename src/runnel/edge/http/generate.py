"""`/api/generate` and `/chat`: the two doors through which a question comes over HTTP."""

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runnel.edge.asking import AskBody
from runnel.edge.deps import SAYS_SIGNED_IN, caller_of
from runnel.edge.http import delivery
from runnel.edge.http.delivery import ANSWERED, SAYS_AGAIN, again_of
from runnel.edge.http.shapes import READ_TO_THE_END, STREAM, AcceptedShape, shaped
from runnel.edge.route import AskRoute
from runnel.errors import Code, RunnelError

router = APIRouter(route_class=AskRoute, tags=["ask"])
public_router = APIRouter()


@router.post(
    "/api/generate",
    responses=STREAM | shaped(AcceptedShape, 202) | READ_TO_THE_END,
    response_class=Response,
    openapi_extra=SAYS_SIGNED_IN | SAYS_AGAIN,
)
async def generate(request: Request, body: AskBody) -> Response:
    """Ask, and read the answer as it is made: server-sent events that end in `[DONE]`."""
    if body.streams is False:
        raise RunnelError(
            Code.INVALID_REQUEST,
            "/api/generate always streams; POST /chat answers in JSON.",
            field="stream",
        )
    caller, again = caller_of(request), again_of(request)
    ask = body.to_ask(caller, again.key)
    return await delivery.answered(request, caller, again, ask, body, streams=True)


@public_router.get("/api/generate", include_in_schema=False)
async def generate_is_posted(request: Request) -> Response:
    """For whoever opens the address in a browser."""
    # Not the request's own URL: its prefix may have been taken off on the way, and it has a query.
    url = f"{request.base_url}api/generate"
    raise HTTPException(
        405,
        f"Ask with POST: curl -N {url} -H 'Authorization: Bearer TOKEN'"
        " -H 'Content-Type: application/json' -d '{\"prompt\": \"Hello\"}'",
        headers={"Allow": "POST"},
    )


@router.post(
    "/chat",
    response_class=Response,
    responses=ANSWERED,
    openapi_extra=SAYS_SIGNED_IN | SAYS_AGAIN,
)
async def chat(request: Request, body: AskBody) -> Response:
    """Ask, and get the answer whole as JSON; with `"stream": true`, as `/api/generate` does."""
    caller, again = caller_of(request), again_of(request)
    ask = body.to_ask(caller, again.key)
    return await delivery.answered(request, caller, again, ask, body)
