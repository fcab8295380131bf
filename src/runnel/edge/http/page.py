"""What a person sees at `/`, its files below /page, and the one file any page can import: /client.js.

The addresses are those of the files in the folder, so that modules find each other in both; the
page must never need another host or an inline script, nor know the path it is mounted under.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from runnel.edge.http.assets import Assets, content_security_policy
from runnel.edge.parts import parts_of

_DIRECTORY: Final = Path(__file__).parent.parent / "page"
_ASSETS: Final = Assets(_DIRECTORY)
_PAGE: Final = (_DIRECTORY / "index.html").read_text(encoding="utf-8")
#: For whoever comes without an account: whether one can be made here.
_REGISTRATION: Final = 'data-registration="closed"'

#: Pictures that were attached come as blobs, for their address needs a header. What makes HTML of
#: text has to be DOMPurify: a browser that knows trusted types refuses whatever else tries.
PAGE_CSP: Final = content_security_policy(
    style_src="'self'",
    img_src="'self' data: blob:",
    require_trusted_types_for="'script'",
    trusted_types="dompurify",
)

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
async def page(request: Request) -> HTMLResponse:
    registration = f'data-registration="{parts_of(request).settings.registration}"'
    return HTMLResponse(
        _PAGE.replace(_REGISTRATION, registration),
        headers={"content-security-policy": PAGE_CSP, "cache-control": "no-cache"},
    )


@router.head("/client.js")
@router.get("/client.js")
async def client(request: Request) -> Response:
    answer = _ASSETS.answer("client.js", request)
    # Whichever page imports it: what it may then call, CORS_ORIGINS says.
    answer.headers["access-control-allow-origin"] = "*"
    answer.headers["cross-origin-resource-policy"] = "cross-origin"
    return answer


@router.head("/page/{name:path}")
@router.get("/page/{name:path}")
async def page_file(name: str, request: Request) -> Response:
    return _ASSETS.answer(name, request)
