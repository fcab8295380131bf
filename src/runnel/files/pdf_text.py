"""A program of its own: a PDF comes in, its text goes out, and nothing else can happen.

A hostile PDF may loop or grow; here it meets bounds of time and memory, and costs no server's.
"""

import io
import os
import resource
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from runnel.chat.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_PAGES: Final = 5000
_BETWEEN_PAGES: Final = "\n\n"


class Result(IntEnum):
    """How it went: the program's exit codes."""

    DRAWN = 0
    BROKEN = 10
    ENCRYPTED = 11
    TOO_LONG = 12


def main() -> Result:
    """Its arguments: bytes of memory, seconds of CPU, characters at most."""
    memory_bytes, cpu_seconds, most_characters = map(int, sys.argv[1:])
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return _draw(sys.stdin.buffer.read(), most_characters)
    except Exception:  # noqa: BLE001 - a broken PDF makes the library raise anything
        return Result.BROKEN


def _draw(content: bytes, most_characters: int) -> Result:
    from pypdf import PasswordType, PdfReader  # noqa: PLC0415 - within the bounds

    reader = PdfReader(io.BytesIO(content))
    # Many are encrypted with no password: these every reader opens.
    if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
        return Result.ENCRYPTED
    if len(reader.pages) > _MOST_PAGES:
        return Result.TOO_LONG
    text = ""
    for page in _pages(reader):
        text += page
        if len(text) > most_characters:
            return Result.TOO_LONG
    sys.stdout.buffer.write(clean(text).strip().encode())
    return Result.DRAWN


def _pages(reader: "PdfReader") -> "Iterator[str]":
    for page in reader.pages:
        yield page.extract_text() + _BETWEEN_PAGES


if TYPE_CHECKING:
    from pypdf import PdfReader

if __name__ == "__main__":
    sys.exit(main())
