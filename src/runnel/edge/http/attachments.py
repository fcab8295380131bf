"""`/api/attachments`: files for questions. What a file is, its content says, and nothing else."""

import re
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse
from typing_extensions import override

from runnel.chat.attachments.service import Content
from runnel.chat.entities import Attachment
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.session_shapes import AttachmentShape, attachment_shape
from runnel.edge.http.shapes import shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute
from runnel.errors import Code, RunnelError
from runnel.settings import Settings

#: What a form takes around its file: lines between its parts, and headers of its part.
_FORM_BYTES: Final = 64 * 1024
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "additionalProperties": False,
                }
            }
        },
    }
}
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._ -]")


class _UploadRoute(UserRoute):
    """A route that takes a file, which may be larger than any other body."""

    @override
    def most_bytes(self, settings: Settings) -> int:
        return settings.attachment_max_bytes + _FORM_BYTES


uploads = APIRouter(
    prefix="/api/attachments",
    route_class=_UploadRoute,
    tags=["attachments"],
    dependencies=[*SIGNED_IN],
)
router = APIRouter(
    prefix="/api/attachments",
    route_class=UserRoute,
    tags=["attachments"],
    dependencies=[*SIGNED_IN],
)


@uploads.post(
    "",
    response_class=Response,
    status_code=201,
    responses=shaped(AttachmentShape, 201),
    openapi_extra=_FORM,
)
async def upload_attachment(request: Request, parts: AppParts, caller: Caller) -> Response:
    """Give a file to ask about: a picture, a PDF or a text. Name its id in `attachments` then.

    It belongs to the session in which it is used first, and goes with it; one that is never used
    goes after a while.
    """
    form = await _form(request)
    try:
        file = _only_file(form)
        made = await parts.attachments.add(caller.user_id, file.filename or "", file.file)
    finally:
        await form.close()
    return JsonResponse(attachment_shape(made), 201)


@router.get(
    "/{attachment_id}",
    response_class=Response,
    responses={
        200: {
            "model": AttachmentShape,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def get_attachment(
    request: Request, parts: AppParts, caller: Caller, attachment_id: str
) -> Response:
    """The file as it was given; with `Accept: application/json`, what is known of it."""
    if _wants_json(request):
        return JsonResponse(
            attachment_shape(await parts.attachments.find(caller.user_id, attachment_id))
        )
    content = await parts.attachments.content(caller.user_id, attachment_id)
    return StreamingResponse(
        _pieces(content),
        headers={
            "Content-Type": _content_type(content),
            "Content-Length": str(content.attachment.bytes),
            "Content-Disposition": _disposition(content.attachment),
            "Cache-Control": "private",
        },
    )


async def _pieces(content: Content) -> AsyncGenerator[bytes]:
    yield content.first
    async for piece in content.rest:
        yield piece


@router.delete("/{attachment_id}", response_class=Response, status_code=204)
async def delete_attachment(parts: AppParts, caller: Caller, attachment_id: str) -> Response:
    """Forgets a file at once, also one that was used: its messages have it no more."""
    await parts.attachments.delete(caller.user_id, attachment_id)
    return Response(status_code=204)


async def _form(request: Request) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise _unfit("Send the file as multipart/form-data, as `curl -F file=@NAME` does.")
    try:
        return await request.form(max_files=2, max_fields=2)
    except UnicodeError:  # there are charsets that decode nothing
        raise _unfit("The form is not in the charset that it names.") from None


def _only_file(form: FormData) -> UploadFile:
    fields = form.multi_items()
    for name, _ in fields:
        if name != "file":
            raise _unfit("The form takes one field, `file`, and no other.")
    if len(fields) > 1:
        raise _unfit("Send one file at a time.")
    if not fields:
        raise _unfit("The form has no field `file`.")
    file = fields[0][1]
    if not isinstance(file, UploadFile):
        raise _unfit("The field `file` is a text: send it with a file name.")
    return file


def _wants_json(request: Request) -> bool:
    accepted = ",".join(request.headers.getlist("accept")).split(",")
    kinds = {kind.partition(";")[0].strip().lower() for kind in accepted}
    return "application/json" in kinds and not {"*/*", "image/*"} & kinds


def _content_type(content: Content) -> str:
    media_type = content.attachment.media_type
    if not media_type.startswith("text/"):
        return media_type
    charset = "utf-16" if content.first.startswith(_UTF16) else "utf-8"
    return f"{media_type}; charset={charset}"


def _disposition(attachment: Attachment) -> str:
    """RFC 6266: the name as it is, and for old readers what of it is safe between quotes."""
    shown = "inline" if attachment.is_image else "attachment"
    plain = _PLAIN.sub("_", attachment.name)
    return f"{shown}; filename=\"{plain}\"; filename*=UTF-8''{quote(attachment.name, safe='')}"


def _unfit(message: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, message, field="file")
