"""What a question has to be like before anything is made of it; what is not is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runnel.chat.entities import Ask, AskKey, Turn
from runnel.chat.fingerprint import fingerprint
from runnel.chat.ids import may_be_id
from runnel.chat.text import clean
from runnel.errors import Code, RunnelError


@dataclass(frozen=True, slots=True)
class AskRules:
    """What holds for every question. `max_message_length` counts characters.

    An abort is awaited `abort_wait_seconds`. A question has at most `max_attachments`.
    """

    max_message_length: int
    abort_wait_seconds: float
    max_attachments: int


def checked(ask: Ask, rules: AskRules) -> Ask:
    """The question as it is written down: cleaned, and its key with what was asked.

    Raises RunnelError: `invalid_request`, `message_too_long`, `not_found`.
    """
    question = _cleaned(ask.question)
    if not question.text.strip() and not ask.stateless and ask.regenerates is None:
        raise RunnelError(
            Code.INVALID_REQUEST,
            "The message is empty.",
            field="content" if ask.edits else "message",
        )
    if question.role == "user" and len(question.text) > rules.max_message_length:
        raise RunnelError(
            Code.MESSAGE_TOO_LONG,
            f"The message has {len(question.text)} characters;"
            f" {rules.max_message_length} are allowed.",
        )
    history = ask.history and [_cleaned(turn) for turn in ask.history]
    ask = replace(
        ask,
        text=question.text,
        turn=ask.turn and question,
        history=history,
        attachments=_named(ask, rules.max_attachments),
    )
    if ask.key is not None:
        ask = replace(ask, key=AskKey(ask.key.text, fingerprint(ask), ask.session))
    return ask


def _named(ask: Ask, most: int) -> Sequence[str] | None:
    """The ids of a question's attachments; None where none are named, but of an edited question,
    which keeps what it had then. Raises RunnelError `invalid_request`, `not_found`.
    """
    ids = ask.attachments
    if not ids:
        return ids if ask.edits else None
    if len(ids) > most:
        raise _unfit_attachments(f"A question has at most {most} attachments.")
    if len(set(ids)) < len(ids):
        raise _unfit_attachments("An attachment is named twice.")
    if not all(map(may_be_id, ids)):
        raise RunnelError(Code.NOT_FOUND, "There is no such attachment.", field="attachments")
    return tuple(ids)


def _unfit_attachments(message: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, message, field="attachments")


def _cleaned(turn: Turn) -> Turn:
    text = clean(turn.text)
    if not turn.parts and text == turn.text:
        return turn
    parts = [clean(part) if isinstance(part, str) else part for part in turn.parts]
    return replace(turn, text=text, parts=parts)
