"""`/v1`: OpenAI's wire, for the clients that speak it already.

One more way to the same answers, but for what such clients do not know: they keep the talk
themselves, and cannot come back to an answer, so that it ends when they leave.
"""

from fastapi import APIRouter, Request
from starlette.responses import Response

from runnel.chat.model_ports import ListedModel
from runnel.edge.deps import SAYS_SIGNED_IN, SIGNED_IN, AppParts, caller_of
from runnel.edge.dialects.openai import Chunks, Identity, completion
from runnel.edge.http import answering
from runnel.edge.http.openai_body import CompletionBody
from runnel.edge.http.openai_shapes import (
    ANY_FAILURE,
    CompletionShape,
    ServedModelShape,
    ServedModelsShape,
)
from runnel.edge.http.shapes import STREAM, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import AskRoute, UserRoute
from runnel.errors import Code, RunnelError

asking = APIRouter(
    prefix="/v1",
    route_class=AskRoute,
    tags=["openai"],
    responses=ANY_FAILURE,
)
listing = APIRouter(
    prefix="/v1",
    route_class=UserRoute,
    tags=["openai"],
    dependencies=[*SIGNED_IN],
    responses=ANY_FAILURE,
)


@asking.post(
    "/chat/completions",
    response_class=Response,
    responses={
        200: {
            "model": CompletionShape,
            "content": {"application/json": {}} | STREAM[200]["content"],
        }
    },
    openapi_extra=SAYS_SIGNED_IN,
)
async def complete(request: Request, body: CompletionBody) -> Response:
    """Ask as OpenAI's clients do: an answer whole, or with `stream` in chunks."""
    caller = caller_of(request)
    generation = await answering.ask(request, body.to_ask(caller))
    if not body.stream:
        return await answering.whole(request, caller, generation, completion, only_reader=True)
    identity = Identity(generation.id, generation.created_at, generation.model)
    chunks = Chunks(identity, usage=body.usage_asked)
    return await answering.stream(request, caller, generation, chunks, only_reader=True)


@listing.get("/models", response_class=Response, responses=shaped(ServedModelsShape))
async def list_models(parts: AppParts) -> Response:
    """The aliases that can be asked now."""
    models = [_shown(model) for model in parts.catalog.listed() if model.available]
    shown: ServedModelsShape = {"object": "list", "data": models}
    return JsonResponse(shown)


@listing.get("/models/{model:path}", response_class=Response, responses=shaped(ServedModelShape))
async def get_model(parts: AppParts, model: str) -> Response:
    """One of them; its name may have slashes, escaped or not."""
    for listed in parts.catalog.listed():
        if listed.alias == model and listed.available:
            return JsonResponse(_shown(listed))
    raise RunnelError(Code.UNKNOWN_MODEL, f"There is no model {model} here.", field="model")


def _shown(model: ListedModel) -> ServedModelShape:
    # Nobody knows when a model was made; clients want a number.
    return {"id": model.alias, "object": "model", "created": 0, "owned_by": model.provider}
