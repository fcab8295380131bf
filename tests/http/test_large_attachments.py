"""Files as large as they may be by default: nobody else waits for them."""

import asyncio
import random
import time
from typing import Final

from given_files import picture, slow_pdf
from wire import Serve

_MIB: Final = 1024 * 1024
#: So long a PDF is looked into that never ends.
_PDF_SECONDS: Final = 3


async def test_the_loop_goes_on_while_large_files_are_examined(serve: Serve) -> None:
    server = serve(attachment_pdf_seconds=_PDF_SECONDS)
    ada = server.user("ada")
    text = ("coração, e mais linhas\r\n" * 40_000).encode()
    files = [text, picture() + bytes(10 * _MIB - 1000), b"a" * (10 * _MIB - 1), slow_pdf()]
    statuses: list[int] = []
    async with server.client(ada) as client, server.client() as other:

        async def upload(content: bytes) -> None:
            response = await client.post("/api/attachments", files={"file": ("f", content)})
            statuses.append(response.status_code)

        uploads = asyncio.gather(*(upload(content) for content in files))
        slowest = 0.0
        while not uploads.done():
            began = time.monotonic()
            assert (await other.get("/healthz")).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        await uploads
    assert sorted(statuses) == [201, 201, 413, 422]
    assert slowest < _PDF_SECONDS, "whoever asks waits for the examination"


async def test_a_large_file_comes_back_whole(serve: Serve) -> None:
    server = serve()
    content = picture() + random.Random(1).randbytes(10 * _MIB - 1000)
    async with server.client(server.user("ada")) as client:
        made = await client.post("/api/attachments", files={"file": ("f", content)})
        path = f"/api/attachments/{made.json()['attachment_id']}"
        shown = await client.get(path)
    assert shown.content == content
    assert shown.headers["content-length"] == str(len(content))
