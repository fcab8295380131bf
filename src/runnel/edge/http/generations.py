"""`/api/generations`: what has become of an answer."""

from fastapi import APIRouter
from starlette.responses import Response

from runnel.chat.entities import Generation
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.dialects.members import usage_members
from runnel.edge.http.shapes import GenerationShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute

router = APIRouter(route_class=UserRoute, tags=["generations"], dependencies=[*SIGNED_IN])


@router.get(
    "/api/generations/{generation_id}", response_class=Response, responses=shaped(GenerationShape)
)
async def get_generation(parts: AppParts, caller: Caller, generation_id: str) -> Response:
    """An answer's state, with its text exactly up to the position that it names."""
    return JsonResponse(_shown(await parts.chat.generation(caller.user_id, generation_id)))


def _shown(generation: Generation) -> GenerationShape:
    failure = generation.failure
    return {
        "generation_id": generation.id,
        "session_id": generation.session_id,
        "message_id": generation.message_id,
        "status": generation.status,
        "model": generation.model,
        "provider": generation.provider,
        "text": generation.text,
        "position": str(generation.position) if generation.position else None,
        "usage": usage_members(generation.usage) if generation.usage else None,
        "finish_reason": generation.finish_reason,
        "error": failure
        and {"code": failure.code, "message": failure.message, "retryable": failure.retryable},
        "created_at": generation.created_at,
        "first_token_ms": generation.first_token_ms,
        "latency_ms": generation.latency_ms,
    }
