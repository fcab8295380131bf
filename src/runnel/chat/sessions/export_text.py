"""Exports for people: `markdown` and `text`. The active branch first, then what grows beside it.

What was said stays as it was said. That none of it passes for one of our headings: each message
of ours begins with its id, which nobody who wrote in it could know.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from typing_extensions import override

from runnel.chat.entities import Role, Status
from runnel.chat.sessions.export_pages import Fork, Messages, Pages, Whole
from runnel.chat.sessions.records import AttachmentRecord, GenerationRecord, MessageRecord

_SPEAKERS: Final[dict[Role, str]] = {
    "user": "User",
    "assistant": "Assistant",
    "system": "System",
    "tool": "Tool",
}
_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
#: White space, and what else would end a line of ours or drive a terminal.
_BREAKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class _Writer(ABC):
    """How the parts of a session look."""

    async def __call__(
        self, pages: Pages, sessions: AsyncGenerator[Whole]
    ) -> AsyncGenerator[bytes]:
        between = ""
        async for whole in sessions:
            yield (between + self.head(whole)).encode()
            between = self.between_sessions
            async for page in pages.branch(whole):
                yield self._messages(page)
            async for stretch in pages.stretches(whole):
                yield self.fork(stretch.fork).encode()
                async for page in pages.stretch(whole, stretch):
                    yield self._messages(page)
        if not between:
            yield b"There are no sessions.\n"

    def _messages(self, page: Messages) -> bytes:
        files = page.files
        return "".join(
            self.message(message, [files[each] for each in message.attachments])
            for message in page.messages
        ).encode()

    between_sessions: str

    @abstractmethod
    def head(self, whole: Whole) -> str: ...

    @abstractmethod
    def message(self, message: MessageRecord, files: Sequence[AttachmentRecord]) -> str: ...

    @abstractmethod
    def fork(self, fork: Fork | None) -> str: ...


class _Markdown(_Writer):
    between_sessions = "\n"

    @override
    def head(self, whole: Whole) -> str:
        facts = "".join(f"- {fact}\n" for fact in _facts(whole))
        return f"# {_title(whole)}\n\n{facts}"

    @override
    def message(self, message: MessageRecord, files: Sequence[AttachmentRecord]) -> str:
        lines = [
            f"\n<!-- message {message.message_id} -->",
            f"### {_speaker(message)} · {_time(message.timestamp)}\n",
        ]
        lines += [f"Attached: {_file(file)}\n" for file in files]
        if message.content:
            lines.append(_closed(message.content) + "\n")
        return "\n".join(lines)

    @override
    def fork(self, fork: Fork | None) -> str:
        return f"\n---\n\n## {_fork(fork)}\n"


class _Text(_Writer):
    between_sessions = "\n\n"

    @override
    def head(self, whole: Whole) -> str:
        title = _title(whole)
        return "\n".join([title, "=" * min(len(title), 78), *_facts(whole), ""])

    @override
    def message(self, message: MessageRecord, files: Sequence[AttachmentRecord]) -> str:
        lines = [
            (
                f"\n--- {_speaker(message)}, {_time(message.timestamp)},"
                f" message {message.message_id} ---"
            ),
            *(f"[attached: {_file(file)}]" for file in files),
        ]
        if message.content:
            lines.append(message.content)
        return "\n".join([*lines, ""])

    @override
    def fork(self, fork: Fork | None) -> str:
        return f"\n\n====== {_fork(fork)} ======\n"


markdown: Final = _Markdown()
text: Final = _Text()


def _title(whole: Whole) -> str:
    return _line(whole.session.title or whole.session.name or "Session")


def _facts(whole: Whole) -> list[str]:
    session = whole.session
    name = f" ({session.name})" if session.name else ""
    facts = [
        f"Session: {session.session_id}{name}",
        f"Begun: {_time(session.started_at)}",
        f"Last activity: {_time(session.last_activity)}",
    ]
    if session.project_id:
        facts.append(f"Project: {_line(session.project_id)}")
    return facts


def _speaker(message: MessageRecord) -> str:
    speaker = _SPEAKERS[message.role]
    made = message.generation
    if made is None:
        return speaker
    return f"{speaker} ({_line(made.agent or made.model)}{_outcome(made)})"


def _outcome(made: GenerationRecord) -> str:
    """What became of an answer that is not whole."""
    match made.status:
        case Status.COMPLETED:
            return ""
        case Status.QUEUED | Status.RUNNING:
            return ", still being made"
        case Status.FAILED if made.error:
            return f", failed: {_line(made.error.message)}"
        case status:
            return f", {status}"


def _fork(fork: Fork | None) -> str:
    if fork is None:
        return "Another beginning"
    words = _line(fork.words)
    quoted = f": “{words}…”" if words else ""
    return f"Another branch, after {_SPEAKERS[fork.role]}, {_time(fork.timestamp)}{quoted}"


def _file(file: AttachmentRecord) -> str:
    return f"{_line(file.name)} ({file.media_type}, {file.bytes:,} bytes)"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _line(words: str) -> str:
    return _BREAKS.sub(" ", words).strip()


def _closed(content: str) -> str:
    """With an end for a block of code that has none, so that what follows is not taken into it."""
    fence = ""
    for line in content.split("\n"):
        match = _FENCE.match(line)
        if match is None:
            continue
        marks, rest = match.groups()
        if not fence:
            fence = marks
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not rest.strip():
            fence = ""
    if not fence:
        return content
    return f"{content}\n{fence}" if not content.endswith("\n") else content + fence
