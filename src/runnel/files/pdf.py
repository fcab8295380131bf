"""The texts of PDFs, drawn by a program of its own that is killed if it takes too long."""

import asyncio
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

from runnel.errors import Code, RunnelError
from runnel.files import pdf_text
from runnel.files.pdf_text import Result

#: How many are read at a time: each takes a process, which takes a core.
_AT_A_TIME: Final = 2
_MEMORY_BYTES: Final = 512 * 1024 * 1024


class PdfTexts:
    """Draws the text out of PDFs. `seconds` is how long that may take, and the wait before it."""

    def __init__(self, *, seconds: float, max_characters: int) -> None:
        self._seconds = seconds
        self._max_characters = max_characters
        self._places = asyncio.Semaphore(_AT_A_TIME)
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "pdf")

    async def text(self, file: BinaryIO) -> str:
        """Raises RunnelError: `invalid_request`, `payload_too_large`, `overloaded`."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            raise RunnelError(
                Code.OVERLOADED, "Too many PDFs are being read. Try again shortly.", retry_after=1
            ) from None
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._drawn, file)
        finally:
            self._places.release()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _drawn(self, file: BinaryIO) -> str:
        file.seek(0)
        bounds = (_MEMORY_BYTES, math.ceil(self._seconds), self._max_characters)
        try:
            done = subprocess.run(  # noqa: S603 - our own program; the file is only its input
                [sys.executable, "-P", "-m", pdf_text.__name__, *map(str, bounds)],
                input=file.read(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # What is in the environment of the server is none of its business.
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._too_slow() from None
        if done.returncode < 0:  # killed, at the end of its CPU time
            raise self._too_slow()
        if done.returncode == Result.TOO_LONG:
            raise RunnelError(
                Code.PAYLOAD_TOO_LARGE,
                f"The PDF has more text than {self._max_characters} characters, or too many pages.",
                field="file",
            )
        if done.returncode == Result.ENCRYPTED:
            raise _unfit("The PDF is encrypted: upload it without its password.")
        if done.returncode != Result.DRAWN:
            raise _unfit("The PDF cannot be read.")
        if not done.stdout:
            raise _unfit("There is no text in the PDF. Of a scan, upload the pages as pictures.")
        return done.stdout.decode()

    def _too_slow(self) -> RunnelError:
        return _unfit(f"To read the PDF takes longer than {self._seconds:g} s.")


def _unfit(message: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, message, field="file")
