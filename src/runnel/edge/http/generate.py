"""`/api/generate` and `/chat`: the two doors through which a question comes over HTTP."""

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runnel.edge.deps import SIGNED_IN, Caller
from runnel.edge.dialects.sse import dialect_of
from runnel.edge.http import answering
from runnel.edge.http.asking import AskBody, refuse_idempotency_key
from runnel.edge.http.shapes import STREAM, AnswerShape, shaped
from runnel.edge.route import AskRoute
from runnel.errors import Code, RunnelError

router = APIRouter(
    route_class=AskRoute,
    tags=["ask"],
    dependencies=[*SIGNED_IN, Depends(refuse_idempotency_key)],
)
public_router = APIRouter()


@router.post("/api/generate", responses=STREAM, response_class=Response)
async def generate(request: Request, caller: Caller, body: AskBody) -> Response:
    """Ask, and read the answer as it is made: server-sent events that end in `[DONE]`."""
    if body.streams is False:
        raise RunnelError(
            Code.INVALID_REQUEST,
            "/api/generate always streams; POST /chat answers in JSON.",
            field="stream",
        )
    generation = await answering.ask(request, body.to_ask(caller))
    return await answering.stream(request, caller, generation, dialect_of(body.format, ids=False))


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


@router.post("/chat", response_class=Response, responses=shaped(AnswerShape))
async def chat(request: Request, caller: Caller, body: AskBody) -> Response:
    """Ask, and get the answer whole as JSON; with `"stream": true`, as `/api/generate` does."""
    generation = await answering.ask(request, body.to_ask(caller))
    if body.streams:
        return await answering.stream(
            request, caller, generation, dialect_of(body.format, ids=False)
        )
    return await answering.whole(request, caller, generation)
