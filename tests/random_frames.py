"""Frames as nobody should send them, and some as everybody does: drawn by lot, from a seed."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from wire import NOBODYS_ID

Door = Literal["completions", "session", "user"]
NAMES: Final = ("name-0", "name-1", "7")
DOORS: Final[tuple[Door, ...]] = ("completions", "session", "user")
Json = dict[str, Any]

_POSITIONS: Final = ("1-0", "1-3", "1-999999999999999999", "7-7", "0-0", "-1", "1-01", "9" * 40)
_TEXTS: Final = (
    "",
    " ",
    "\0",
    "\ud800",
    "\udc00\ud800",
    "\u2028",
    "é😀",
    "x" * 6000,
    "]\r\n[DONE]",
)
#: Of every kind that JSON has, and what a server may stumble over.
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 2**63, 10**30, 10**4000),
    *(float("nan"), float("inf"), [], {}, [[]], [1, "a"], {"a": {"b": None}}, ["x"] * 3000),
    *("me", "../..", "__proto__", "%00", "' OR 1=1 --", "rnl_x", NOBODYS_ID, *_TEXTS, *_POSITIONS),
)
_JUNK: Final = (
    *("null", "true", "3", '"x"', "[]", '[{"type":"ping"}]', "{", "}", "{}", "", " ", "\ufeff{}"),
    *('{"type":"ping"', "{'type':'ping'}", '{"type":"ping"}{"type":"ping"}', '{"type":NaN}'),
    *("[" * 5000, "[" * 30_000 + "]" * 30_000, '{"a":' * 100 + "1" + "}" * 100, "9" * 50_000),
    *('{"type":"resume","generation_id":' + "9" * 5000 + "}", '{"type":1e400}', '{"action":-0}'),
    *('{"type":"ping","type":"message"}', '{"\\ud800":1}', '{"type":"\\u0070ing"}', "\0", "ping"),
)


@dataclass
class Ids:
    """What one user has been shown, by which another may ask."""

    generations: list[str] = field(default_factory=list[str])
    sessions: list[str] = field(default_factory=list[str])
    messages: list[str] = field(default_factory=list[str])

    def all(self) -> Sequence[str]:
        return [*self.generations, *self.sessions, *self.messages]


class Babble:
    """What one connection says. Its user's `canary` is in its questions.

    Keys and names of sessions are the same whoever speaks.
    """

    def __init__(self, choice: random.Random, canary: str, own: Ids, foreign: Ids) -> None:
        self._choice = choice
        self._canary = canary
        self._own = own
        self._foreign = foreign

    def frame(self, door: Door) -> str | bytes:
        """A text, or bytes."""
        kinds = (self._plain, self._of_another, self._spoilt, self._broken)
        [kind] = self._choice.choices((*kinds, self._junk, self._binary), (5, 2, 7, 2, 3, 1))
        return kind(door)

    def _plain(self, door: Door) -> str:
        return self._written(self._command(door))

    def _of_another(self, _: Door) -> str:
        """Of any of the doors."""
        return self._plain(self._choice.choice(DOORS))

    def _spoilt(self, door: Door) -> str:
        """With a wrong value, a member more, or one less."""
        frame = self._command(door)
        name = self._choice.choice(list(frame))
        match self._choice.randrange(4):
            case 0:
                del frame[name]
            case 1:
                frame[self._choice.choice(("", "x", "user_id", "\ud800", "messages", "own"))] = 1
            case _:
                frame[name] = self._choice.choice(_VALUES)
        return self._written(frame)

    def _broken(self, door: Door) -> str:
        text = self._plain(door)
        place = self._choice.randrange(len(text))
        middle = self._choice.choice(("", '"', "\\", "{", "\ufffd", "\x00", ",,"))
        return text[:place] + middle + text[place + self._choice.randrange(3) :]

    def _junk(self, _: Door) -> str:
        value = json.dumps(self._choice.choice(_VALUES))[:60_000]
        return self._choice.choice((self._choice.choice(_JUNK), value))

    def _binary(self, door: Door) -> bytes:
        return self._plain(door).encode("utf-8", "surrogatepass")

    def _written(self, frame: Json) -> str:
        # Only escaped can a lone surrogate be sent at all.
        ascii_only = self._choice.random() < 0.8 or "\\ud" in str(frame)
        return json.dumps(frame, ensure_ascii=ascii_only)

    def _command(self, door: Door) -> Json:
        """One that the contract has. Questions are the dearest, and so not the most frequent."""
        if self._choice.random() < 0.1:
            return {"type": "ping"}
        match door:
            case "completions":
                ask, others = self._question, (self._abort_here,)
            case "session":
                others = (self._abort, self._resume, self._resume, self._typing, self._auth)
                ask = self._message
            case "user":
                ask, others = self._send_message, 8 * (self._abort_task,)
        return self._choice.choice((ask, ask, *others))()

    def _question(self) -> Json:
        return self._asking("question", session_id=self._choice.choice([None, self._session()]))

    def _message(self) -> Json:
        stream = self._choice.choice([None, True, False])
        return self._asking("content", type="message", stream=stream)

    def _send_message(self) -> Json:
        chat = self._choice.choice([None, self._session(), self._choice.randrange(9)])
        return self._asking("content", action="send_message", chat_id=chat)

    def _abort_here(self) -> Json:
        return {"type": "abort"}

    def _abort(self) -> Json:
        return {"type": "abort", "generation_id": self._generation()}

    def _abort_task(self) -> Json:
        return {"action": "abort", "task_id": self._generation()}

    def _resume(self) -> Json:
        after = self._choice.choice([None, *_POSITIONS])
        return {"type": "resume", "generation_id": self._generation(), "after": after}

    def _typing(self) -> Json:
        return {"type": "typing", "active": self._choice.random() < 0.5}

    def _auth(self) -> Json:
        return {"type": "auth", "token": self._choice.choice(("rnl_no", "e.y.J", ""))}

    def _asking(self, text: str, **members: Any) -> Json:
        key = self._choice.choice([None, f"key-{self._choice.randrange(50)}"])
        members |= {text: f"{self._canary} {self._choice.randrange(3)}", "client_message_id": key}
        if self._choice.random() < 0.1:
            members["model"] = self._choice.choice(("chat/test", "test", "no/model"))
        if self._choice.random() < 0.1:
            members["params"] = {"temperature": self._choice.choice((0.5, 9, "x"))}
        return {name: value for name, value in members.items() if value is not None}

    def _session(self) -> str:
        ids = [*self._some(self._own.sessions), *self._some(self._foreign.sessions)]
        return self._choice.choice([*NAMES, *NAMES, *ids])

    def _generation(self) -> str:
        """Own or foreign, or what is no generation's at all."""
        ids = [*self._some(self._own.generations), *self._some(self._own.generations)]
        ids += self._some(self._foreign.generations)
        return self._choice.choice([*ids, *self._some(self._foreign.all()), NOBODYS_ID])

    def _some(self, ids: Sequence[str]) -> Sequence[str]:
        """One of the latest, and one of all."""
        return [self._choice.choice(ids[-5:]), self._choice.choice(ids)] if ids else ()
