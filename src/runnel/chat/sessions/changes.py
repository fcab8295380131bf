"""What a client makes of a session: how a new one is to be, and what is to change of one."""

from dataclasses import dataclass, fields
from enum import Enum, auto
from typing import Any

from runnel.chat.sessions.values import AS_USUAL, NOBODY_KNOWN, ClientInfo, SessionSettings


class Unset(Enum):
    """What is left as it is: None says that there is to be nothing."""

    UNSET = auto()


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class NewSession:
    name: str | None = None
    title: str | None = None
    project_id: str | None = None
    settings: SessionSettings = AS_USUAL
    client: ClientInfo = NOBODY_KNOWN


@dataclass(frozen=True, slots=True)
class Changes:
    """The settings are those of SessionSettings, one by one."""

    title: str | Unset | None = UNSET
    project_id: str | Unset | None = UNSET
    model_preference: str | Unset | None = UNSET
    language: str | Unset | None = UNSET
    stream_responses: bool | Unset = UNSET
    system_prompt: str | Unset | None = UNSET
    closed: bool | Unset = UNSET


@dataclass(frozen=True, slots=True)
class ReactionChanges:
    """What is to change of the reactions to an answer."""

    helpful: bool | Unset | None = UNSET
    rating: int | Unset | None = UNSET


def given(changes: Changes | ReactionChanges) -> dict[str, Any]:
    """What is to change, by its name."""
    named = {one.name: getattr(changes, one.name) for one in fields(changes)}
    return {name: value for name, value in named.items() if value is not UNSET}
