"""What a client reads of an answer, event by event, put together by position alone.

It shares no code with the server: HTTP, frames and positions are read here anew.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Place = tuple[int, int]
Json = dict[str, Any]
#: The event that ends an answer, and the state that it says of it.
TERMINAL: Final = {"end": "completed", "aborted": "aborted", "failed": "failed"}


def place_of(text: str) -> Place:
    epoch, _, offset = text.partition("-")
    return int(epoch), int(offset)


def position(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What has come of a response, without its chunks' sizes; without a whole head, nothing."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    whole: bool = False


def reply_of(received: bytes) -> Reply:
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return Reply()
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    status = int(first.split(" ")[1])
    if headers.get("transfer-encoding") != "chunked":
        return Reply(status, headers, rest, len(rest) == int(headers.get("content-length", "0")))
    body: list[bytes] = []
    while b"\r\n" in rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line, 16)
        if size == 0:
            return Reply(status, headers, b"".join(body), whole=rest == b"\r\n")
        body.append(rest[:size])
        rest = rest[size + 2 :]
    return Reply(status, headers, b"".join(body))


@dataclass(frozen=True, slots=True)
class Told:
    """One event, as a client was told it; `done` is the end mark. Not all frames say a place.

    `members`: of a terminal event, where its dialect has them.
    """

    type: str
    place: Place | None
    text: str = ""
    members: Json = field(default_factory=dict[str, Any])


def told_by_stream(body: bytes, form: str) -> Iterator[Told]:
    """The events of all frames that are whole."""
    assert b"\r" not in body
    for frame in body.split(b"\n\n")[:-1]:
        name, place, data = "message", None, list[str]()
        for line in frame.decode().split("\n"):
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match key:
                case "data":
                    data.append(value)
                case "event":
                    name = value
                case "id":
                    place = place_of(value)
                case _:
                    assert key in {"", "retry"}, line
        if data:
            yield _told(name, place, "\n".join(data), form)


def _told(name: str, place: Place | None, data: str, form: str) -> Told:
    if name == "message" and data == "[DONE]":
        return Told("done", place)
    if name == "message":
        assert form == "text", data
        return Told("token", place, data)
    assert form == "events" or name in {"reset", "aborted", "failed"}, name
    return _named(name, place, json.loads(data))


def _named(name: str, place: Place | None, members: Json) -> Told:
    return Told(name, place, members.get("text", ""), members if name in TERMINAL else {})


def told_by_page(page: Json, after: Place | None) -> Iterator[Told]:
    """The events of a poll's page."""
    assert set(page) == {"events", "position", "done"}
    last = after and position(after)
    for event in page["events"]:
        name, last = event.pop("type"), event.pop("position")
        yield _named(name, place_of(last), event)
    assert page["position"] == last
    if page["done"]:
        assert last is not None
        yield Told("done", place_of(last))


class Assembled:
    """What one client has of an answer. Fails at a gap, a repeat, and anything behind the end."""

    def __init__(self) -> None:
        self.place: Place | None = None
        self.text = ""
        self.terminal: Told | None = None
        self.done = False
        self.seen: list[Told] = []
        self.resets: list[tuple[str, Told]] = []
        self._may_reset: Literal["", "lied", "gone"] = ""
        self._without_place: Told | None = None

    def reconnect(self, may_reset: Literal["", "lied", "gone"]) -> None:
        """Another connection: an end that came without a place and without the mark is not kept.

        `may_reset`: why the answer may be told anew.
        """
        self._may_reset = may_reset
        self._without_place = None

    def take(self, told: Told) -> None:
        assert not self.done, f"{told} behind the end mark"
        if told.type == "done":
            self._end(told)
            return
        assert self.terminal is None, f"{told} behind {self.terminal}"
        assert self._without_place is None, f"{told} behind {self._without_place}"
        if told.place is None:
            assert told.type in TERMINAL, told
            self._without_place = told  # it is the end mark's
        elif told.type == "reset":
            assert self._may_reset, f"{told.place} reset at {self.place}"
            assert self.place is None or told.place >= self.place, f"{told} behind {self.place}"
            self.text = ""
            self.resets.append((self._may_reset, told))
            self._keep(told)
        else:
            self._keep_next(told)

    def _end(self, told: Told) -> None:
        if self.terminal is None:
            # The text dialect has no frame for the good end.
            assert told.place is not None, "the end mark without an end"
            end = self._without_place or Told("end", None)
            self._keep_next(Told(end.type, told.place, members=end.members))
        assert self.terminal
        assert told.place in {None, self.terminal.place}, f"{told} behind {self.terminal}"
        self.done = True

    def _keep_next(self, told: Told) -> None:
        if self.place is None:
            # The text dialect does not tell the start, which stands at 0.
            assert told.place == (1, 0 if told.type == "start" else 1), told
        else:
            epoch, offset = self.place
            assert told.place == (epoch, offset + 1), f"{told} at {self.place}"
        self._keep(told)

    def _keep(self, told: Told) -> None:
        self.place = told.place
        self.seen.append(told)
        self.text += told.text
        if told.type in TERMINAL:
            self.terminal = told


def assert_agree(readers: Iterable[Assembled], kept: Json) -> None:
    """All were told the same, which is what is kept; `kept` as the API shows a generation."""
    text: str = kept["text"]
    end = place_of(kept["position"])
    told: dict[Place | None, Told] = {}
    for reader in readers:
        assert reader.done
        assert reader.terminal
        assert reader.text == text, f"{reader.text!r}\nwas read, kept is\n{text!r}"
        told_end = TERMINAL[reader.terminal.type], reader.place
        assert told_end == (kept["status"], end), f"{told_end} was told, kept is {kept}"
        assert_end(reader.terminal.members, kept)
        for event in reader.seen:
            if event.type == "token":
                assert event.text
                before = told.setdefault(event.place, event)
                assert before == event, f"{before} for one, {event} for another"
        for why, reset in reader.resets:
            if why == "gone":
                assert (reset.place, reset.text) == ((end[0], end[1] - 1), text), reset
    tokens = [told.get((end[0], offset)) for offset in range(1, end[1])]
    for reader in readers:
        for _, reset in reader.resets:
            assert reset.place
            assert text.startswith(reset.text), f"{reset} of {text!r}"
            known = tokens[: reset.place[1]]
            if all(known):
                assert reset.text == "".join(token.text for token in known if token), reset


def assert_end(members: Json, kept: Json) -> None:
    """What the terminal event said, where its dialect says anything."""
    for name, value in members.items():
        if name in {"finish_reason", "usage", "latency_ms", "first_token_ms"}:
            assert value == kept[name]
        elif name in {"code", "message", "retryable"}:
            assert value == kept["error"][name]
        elif name == "text_length":
            assert value == len(kept["text"])
