"""The texts of PDFs, drawn within bounds, whatever is in the file."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from given_files import bomb_pdf, encrypted, pdf, pdf_drawn, slow_pdf
from runnel.errors import Code, RunnelError
from runnel.files.pdf import PdfTexts

MOST = 10_000


@pytest.fixture
async def texts() -> AsyncIterator[PdfTexts]:
    texts = PdfTexts(seconds=30, max_characters=MOST)
    yield texts
    texts.close()


async def refused(texts: PdfTexts, content: bytes) -> RunnelError:
    with pytest.raises(RunnelError) as caught:
        await texts.text(io.BytesIO(content))
    return caught.value


async def test_the_text_of_all_pages_is_drawn_in_their_order(texts: PdfTexts) -> None:
    assert await texts.text(io.BytesIO(pdf("Hello", "world"))) == "Hello\n\nworld"


async def test_a_pdf_is_read_that_is_encrypted_without_a_password(texts: PdfTexts) -> None:
    assert await texts.text(io.BytesIO(encrypted(pdf("open"), ""))) == "open"


async def test_a_pdf_with_a_password_is_refused(texts: PdfTexts) -> None:
    error = await refused(texts, encrypted(pdf("closed"), "secret"))
    assert (error.code, error.field) == (Code.INVALID_REQUEST, "file")
    assert "encrypted" in error.message


async def test_a_pdf_without_text_is_refused(texts: PdfTexts) -> None:
    assert "no text" in (await refused(texts, pdf_drawn(b"0 0 10 10 re f"))).message


@pytest.mark.parametrize("content", [b"%PDF-1.4", b"%PDF-1.7\n" + os.urandom(1000), bomb_pdf()])
async def test_a_pdf_that_is_broken_or_a_bomb_is_refused(texts: PdfTexts, content: bytes) -> None:
    error = await refused(texts, content)
    assert (error.code, error.message) == (Code.INVALID_REQUEST, "The PDF cannot be read.")


async def test_a_pdf_with_too_much_text_is_too_large(texts: PdfTexts) -> None:
    error = await refused(texts, pdf(*["a" * (MOST // 2)] * 3))
    assert error.code is Code.PAYLOAD_TOO_LARGE


async def test_a_pdf_that_takes_too_long_is_killed() -> None:
    hurried = PdfTexts(seconds=1.5, max_characters=MOST)
    error = await refused(hurried, slow_pdf())
    assert "longer than 1.5 s" in error.message
    assert not children()
    hurried.close()


async def test_who_waits_for_slow_pdfs_is_sent_away_in_time() -> None:
    hurried = PdfTexts(seconds=1.5, max_characters=MOST)
    results = await asyncio.gather(
        *(refused(hurried, slow_pdf()) for _ in range(4)), return_exceptions=True
    )
    codes = [error.code for error in results if isinstance(error, RunnelError)]
    assert codes.count(Code.INVALID_REQUEST) >= 2
    assert set(codes) <= {Code.INVALID_REQUEST, Code.OVERLOADED}
    hurried.close()


def children() -> list[str]:
    """The programs of ours that read PDFs now."""
    commands = [
        (path / "cmdline").read_bytes()
        for path in Path("/proc").glob("[0-9]*")
        if f"\nPPid:\t{os.getpid()}\n" in _status(path)
    ]
    return [command.decode() for command in commands if b"pdf_text" in command]


def _status(path: Path) -> str:
    try:
        return (path / "status").read_text()
    except OSError:  # it has just ended
        return ""
