"""The pages about the API, /docs and /redoc, served whole from our own files.

They must never need another host or an inline script, nor know the path they are mounted under.
"""

import re
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from runnel.edge.http.assets import Assets, content_security_policy
from runnel.edge.json import JsonResponse

_DIRECTORY: Final = Path(__file__).parent.parent / "page" / "docs"
_ASSETS: Final = Assets(_DIRECTORY)

#: Swagger UI shows a picture which an operation answered with from a blob.
DOCS_CSP: Final = content_security_policy(style_src="'self'", img_src="'self' data: blob:")

#: Redoc makes its styles in the page and its search index in a worker made from a blob. The
#: image of its badge, on a CDN, is dropped in redoc.js; were that to fail, img-src blocks it.
REDOC_CSP: Final = content_security_policy(
    style_src="'self' 'unsafe-inline'", img_src="'self' data:", worker_src="blob:"
)


def _page(name: str) -> str:
    """Name each asset with its digest, so that it may be cached for good."""

    def versioned(link: re.Match[str]) -> str:
        return f"{link[0]}?v={_ASSETS.digest(link[1])}"

    text = (_DIRECTORY / name).read_text(encoding="utf-8")
    return re.sub(r'(?<=")docs/assets/([^"]+)', versioned, text)


_DOCS_PAGE: Final = _page("docs.html")
_REDOC_PAGE: Final = _page("redoc.html")

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> JsonResponse:
    """In a thread, as FastAPI's own is not: the first time it is made, in a tenth of a second."""
    app: FastAPI = request.app
    root_path = request.scope.get("root_path", "").rstrip("/")
    servers = {"servers": [{"url": root_path}]} if root_path else {}
    return JsonResponse(app.openapi() | servers)


@router.get("/docs")
async def docs() -> HTMLResponse:
    return _page_response(_DOCS_PAGE, DOCS_CSP)


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    return _page_response(_REDOC_PAGE, REDOC_CSP)


@router.get("/docs/")
async def docs_slash() -> RedirectResponse:
    # Starlette's own redirect would name a path without the prefix which a proxy took off.
    return RedirectResponse("../docs")


@router.get("/redoc/")
async def redoc_slash() -> RedirectResponse:
    return RedirectResponse("../redoc")


@router.get("/docs/assets/{name}")
async def docs_asset(name: str, request: Request) -> Response:
    return _ASSETS.answer(name, request)


def _page_response(page: str, policy: str) -> HTMLResponse:
    return HTMLResponse(
        page, headers={"content-security-policy": policy, "cache-control": "no-cache"}
    )
