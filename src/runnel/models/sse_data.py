"""The data of server-sent events (WHATWG HTML, section 9.2), as it comes over a connection.

Fields other than `data` are read past; so are events without any.
"""

from typing import Final

#: The most that one event may take: nobody sends as much, and somebody might never end one.
MOST_BYTES: Final = 16 * 2**20
_PLAIN: Final = b"data: "
_BLANK: Final = b"\n\n"
_NEXT: Final = _BLANK + _PLAIN
#: A byte order mark, which may stand before all else.
_MARK: Final = b"\xef\xbb\xbf"


class EventTooLongError(Exception):
    """One event takes more than MOST_BYTES."""


class EventData:
    """Fed with bytes as they come, gives the data of each event that is whole by then."""

    __slots__ = ("_began", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._began = False

    def feed(self, received: bytes) -> list[bytes]:
        """Raises EventTooLongError."""
        if self._began and not self._rest and (events := _plain(received)) is not None:
            return events
        held = self._rest + received if self._rest else received
        if not self._began:
            if len(held) < len(_MARK) and _MARK.startswith(held):
                self._rest = held
                return []
            self._began = True
            held = held.removeprefix(_MARK)
        if b"\r" in held:
            # A CR at the very end may be the first half of a line's end.
            late = b"\r" if held.endswith(b"\r") else b""
            held = held.removesuffix(late).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + late
        # Only what is new is searched: an event that comes in many parts is not read many times.
        end = held.rfind(b"\n\n", max(0, len(held) - len(received) - 2))
        if end < 0:
            if len(held) > MOST_BYTES:
                raise EventTooLongError(f"an event of more than {MOST_BYTES} bytes")
            self._rest = held
            return []
        self._rest = held[end + 2 :]
        found: list[bytes] = []
        for event in held[:end].split(b"\n\n"):
            if event.startswith(_PLAIN) and b"\n" not in event:
                found.append(event[len(_PLAIN) :])
            elif (data := _data(event)) is not None:
                found.append(data)
        return found


def _plain(received: bytes) -> list[bytes] | None:
    """Whole events of one line each, as nearly all come; None of anything else."""
    if not (received.startswith(_PLAIN) and received.endswith(_BLANK)) or b"\r" in received:
        return None
    events = received[len(_PLAIN) : -len(_BLANK)].split(_NEXT)
    return events if received.count(b"\n") == 2 * len(events) else None


def _data(event: bytes) -> bytes | None:
    lines: list[bytes] = []
    for line in event.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    data = b"\n".join(lines)
    return data or None
