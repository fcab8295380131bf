"""The pages about the API, /docs and /redoc, served whole from our own files.

They must never need another host or an inline script, nor know the path they are mounted under.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response, status
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

_DIRECTORY: Final = Path(__file__).parent.parent / "page" / "docs"

#: Every file a browser may ask for. Anything else, whatever its name says, does not exist.
_MEDIA_TYPES: Final = {
    "docs.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
    "redoc.js": "text/javascript",
    "redoc.LICENSE": "text/plain",
    "redoc.standalone.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "swagger-ui.LICENSE": "text/plain",
}


def _policy(**directives: str) -> str:
    common = {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    own = {name.replace("_", "-"): value for name, value in directives.items()}
    return "; ".join(f"{name} {value}" for name, value in (common | own).items())


#: Swagger UI shows a picture which an operation answered with from a blob.
DOCS_CSP: Final = _policy(style_src="'self'", img_src="'self' data: blob:")

#: Redoc makes its styles in the page and its search index in a worker made from a blob. The
#: image of its badge, on a CDN, is dropped in redoc.js; were that to fail, img-src blocks it.
REDOC_CSP: Final = _policy(
    style_src="'self' 'unsafe-inline'", img_src="'self' data:", worker_src="blob:"
)


@dataclass(frozen=True, slots=True)
class _Asset:
    path: Path
    media_type: str
    #: Of the content, since times of change are equal in every reproducible build.
    digest: str

    @property
    def etag(self) -> str:
        return f'"{self.digest}"'


def _asset(name: str, media_type: str) -> _Asset:
    path = _DIRECTORY / name
    return _Asset(path, media_type, sha256(path.read_bytes()).hexdigest()[:16])


_ASSETS: Final = {name: _asset(name, media_type) for name, media_type in _MEDIA_TYPES.items()}


def _page(name: str) -> str:
    """Name each asset with its digest, so that it may be cached for good."""

    def versioned(link: re.Match[str]) -> str:
        return f"{link[0]}?v={_ASSETS[link[1]].digest}"

    text = (_DIRECTORY / name).read_text(encoding="utf-8")
    return re.sub(r'(?<=")docs/assets/([^"]+)', versioned, text)


_DOCS_PAGE: Final = _page("docs.html")
_REDOC_PAGE: Final = _page("redoc.html")

router = APIRouter(include_in_schema=False)


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
    asset = _ASSETS.get(name)
    if asset is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    named_by_digest = request.query_params.get("v") == asset.digest
    headers = {
        "cache-control": "public, max-age=31536000, immutable" if named_by_digest else "no-cache",
        "etag": asset.etag,
    }
    # A compressing proxy weakens the tag and sends it back so.
    known = request.headers.get("if-none-match", "")
    if asset.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return FileResponse(asset.path, media_type=asset.media_type, headers=headers)


def _page_response(page: str, policy: str) -> HTMLResponse:
    return HTMLResponse(
        page, headers={"content-security-policy": policy, "cache-control": "no-cache"}
    )
