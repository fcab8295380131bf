"""The text of an answer while it is made."""

from collections.abc import Sequence

from runnel.chat.text import Cleaner, split_forged_ends


class Draft:
    """Cleans what comes, keeps it within its bounds, and cuts it so that no line forges an end.

    `begun` is the text that it goes on with.

    What is fed is not part of the text before it is written; it counts against the bounds at once.
    """

    __slots__ = ("_bytes", "_cleaner", "_events", "_max_bytes", "_max_events", "_pieces")

    def __init__(self, *, max_bytes: int, max_events: int, begun: str = "") -> None:
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._cleaner = Cleaner()
        self._bytes = 0
        self._events = 0
        self._pieces: list[str] = []
        if begun:
            self._pieces += self._counted([self._bounded(begun)])

    def __len__(self) -> int:
        """How many pieces are written; what it was begun with is one."""
        return len(self._pieces)

    @property
    def full(self) -> bool:
        """Whether it may not grow any more."""
        # Each event has a weight of its own: a letter a token would fill the memory with few bytes.
        return self._bytes > self._max_bytes or self._events >= self._max_events

    def feed(self, text: str) -> list[str]:
        """The pieces that are certain now; what might be half of something is held back."""
        # By far the most: nothing to be cleaned, nothing that might forge an end, and room enough.
        # (isprintable leaves out more than is to be cleaned, line ends too: those go the long way.)
        if text.isprintable() and not self._cleaner.holds and "[" not in text:
            size = len(text) if text.isascii() else len(text.encode())
            if text and self._bytes + size <= self._max_bytes:
                self._bytes += size
                self._events += 1
                return [text]
        return self._pieces_of(self._cleaner.feed(text))

    def flush(self) -> list[str]:
        """What was held back, now that nothing more comes."""
        return self._pieces_of(self._cleaner.flush())

    def weigh(self, text: str) -> bool:
        """Counts what belongs to the answer and is none of its text, as a call of a tool.

        Whether it still finds room; half of one is of no use to anybody.
        """
        self._bytes += len(text.encode())
        self._events += 1
        return self._bytes <= self._max_bytes

    def write(self, pieces: Sequence[str]) -> None:
        self._pieces += pieces

    def text(self, begin: int = 0, end: int | None = None) -> str:
        """What is written, from piece `begin` on, or up to piece `end`."""
        return "".join(self._pieces[begin:end])

    def _pieces_of(self, text: str) -> list[str]:
        return self._counted([piece for piece in split_forged_ends(self._bounded(text)) if piece])

    def _counted(self, pieces: list[str]) -> list[str]:
        self._events += len(pieces)
        return pieces

    def _bounded(self, text: str) -> str:
        encoded = text.encode()
        room = self._max_bytes - self._bytes
        self._bytes += len(encoded)
        return text if len(encoded) <= room else encoded[: max(room, 0)].decode(errors="ignore")
