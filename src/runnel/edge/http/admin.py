"""`/api/admin`: for whoever runs the server."""

from fastapi import APIRouter
from starlette.responses import Response

from runnel.edge.deps import SIGNED_IN, AppParts
from runnel.edge.http.server import models_shown
from runnel.edge.http.shapes import ReloadShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import AdminRoute
from runnel.errors import Code, RunnelError, StartupError

router = APIRouter(
    prefix="/api/admin", route_class=AdminRoute, tags=["admin"], dependencies=[*SIGNED_IN]
)


@router.post("/models/reload", response_class=Response, responses=shaped(ReloadShape))
async def reload_models(parts: AppParts) -> Response:
    """Read models.json anew; a bad file is refused, and everything stays as it was."""
    try:
        faults = await parts.reload_models()
    except StartupError as error:
        detail = "; ".join(str(error).splitlines())
        raise RunnelError(Code.INVALID_REQUEST, detail, field="models.json") from None
    shown: ReloadShape = {**models_shown(parts), "faults": [*faults]}
    return JsonResponse(shown)
