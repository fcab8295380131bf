"""Sessions as clients name them."""

import re
from typing import Final

from runnel.chat.entities import SessionRef
from runnel.errors import Code, RunnelError

ID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def session_ref(text: str | None, username: str, *, field: str = "session_id") -> SessionRef:
    """What a client's `session_id` means: a UUID's shape is only ever an id, else it is a name.

    `me` and the own username name a user's channel, so no session may be called so. `field` is
    where the client put it. Raises RunnelError `invalid_request`.
    """
    if text is None:
        return SessionRef()
    if ID.fullmatch(text):
        return SessionRef(id=text.lower())
    if not _NAME.fullmatch(text):
        raise _unfit("is an id, or a name of 1 to 128 of the characters A-Z a-z 0-9 . _ : -", field)
    if text == "me" or text.lower() == username.lower():
        raise _unfit("`me` and the own username cannot name a session", field)
    return SessionRef(name=text)


def _unfit(message: str, field: str) -> RunnelError:
    return RunnelError(Code.INVALID_REQUEST, message, field=field)


def message_id(text: str) -> str:
    """A message's id as the store has it; databases differ in what else they take for a text.

    Raises RunnelError `not_found` for what is none.
    """
    if ID.fullmatch(text) is None:
        raise unknown_message()
    return text.lower()


def unknown_session() -> RunnelError:
    return RunnelError(Code.NOT_FOUND, "There is no such session.")


def unknown_message() -> RunnelError:
    return RunnelError(Code.NOT_FOUND, "There is no such message in this session.")
