"""Exports that can be imported again: `json`, one document, and `jsonl`, a record a line."""

import base64
from collections.abc import AsyncGenerator
from typing import Final

import orjson

from runnel.chat.sessions.export_pages import Messages, Pages, Whole
from runnel.chat.sessions.records import VERSION, AttachmentRecord, MessageRecord, SessionRecord

_Record = SessionRecord | AttachmentRecord | MessageRecord
_HEADER: Final = b'{"runnel_export":%d' % VERSION
#: Base64 is joined again from pieces whose length is a multiple of three.
_PIECE_BYTES: Final = 3 * 64 * 1024


async def json_lines(pages: Pages, sessions: AsyncGenerator[Whole]) -> AsyncGenerator[bytes]:
    """A line a record. The last one says that nothing is missing: a cut file lacks it."""
    yield _HEADER + b"}\n"
    async for whole in sessions:
        yield _line("session", whole.session)
        async for attachment, content in pages.attachments(whole):
            yield _line("attachment", attachment)[:-2] + b',"data":"'
            for piece in _base64(content):
                yield piece
            yield b'"}\n'
        async for page in pages.messages(whole):
            yield b"".join(_line("message", message) for message in page.messages)
    yield b'{"type":"end"}\n'


async def json_document(pages: Pages, sessions: AsyncGenerator[Whole]) -> AsyncGenerator[bytes]:
    """One object, with a record a line, so that two exports can be compared."""
    yield _HEADER + b',"sessions":['
    separator = b"\n"
    async for whole in sessions:
        yield separator + _encoded(whole.session)[:-1] + b',\n"attachments":['
        separator = b",\n"
        between = b"\n"
        async for attachment, content in pages.attachments(whole):
            yield between + _encoded(attachment)[:-1] + b',"data":"'
            for piece in _base64(content):
                yield piece
            yield b'"}'
            between = b",\n"
        yield b'],\n"messages":['
        between = b"\n"
        async for page in pages.messages(whole):
            yield between + _joined(page)
            between = b",\n"
        yield b"]}"
    yield b"\n]}\n"


def _joined(page: Messages) -> bytes:
    return b",\n".join(_encoded(message) for message in page.messages)


def _line(kind: str, record: _Record) -> bytes:
    return b'{"type":"%b",' % kind.encode() + _encoded(record)[1:] + b"\n"


def _encoded(record: _Record) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_UTC_Z)


def _base64(content: bytes) -> list[bytes]:
    return [
        base64.b64encode(content[begin : begin + _PIECE_BYTES])
        for begin in range(0, len(content), _PIECE_BYTES)
    ]
