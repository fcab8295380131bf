"""Cleans text once, before anything keeps it: input as a whole, an answer piece by piece.

CRLF and CR become LF; NUL and lone surrogates become U+FFFD; what was cut over pieces is joined.
"""

import re
from typing import Final

_REPLACEMENT: Final = "\ufffd"
_PAIR: Final = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
_LONE: Final = re.compile("[\ud800-\udfff\0]")
_UNCLEAN: Final = re.compile("[\r\0\ud800-\udfff]")
#: Readers in the field strip a line before they compare it, so white space around it counts too,
#: and for JavaScript's trim the byte order mark is white space.
_FORGED_END: Final = re.compile(r"^(?:[^\S\n]|\ufeff)*(\[DONE\])(?:[^\S\n]|\ufeff)*$", re.MULTILINE)
BYTES_PER_TOKEN: Final = 4
_HALF: Final = len("[DO")


def clean(text: str) -> str:
    """The whole text, cleaned."""
    if not _UNCLEAN.search(text):
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _PAIR.sub(_join_pair, text)
    return _LONE.sub(_REPLACEMENT, text)


def _join_pair(match: re.Match[str]) -> str:
    high, low = ord(match[1]), ord(match[2])
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


class Cleaner:
    """Cleans an answer that comes in pieces. What might be half of something is held back."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def feed(self, piece: str) -> str:
        """The text that is certain now; may be empty."""
        if not self._held and not _UNCLEAN.search(piece):
            return piece
        text = self._held + piece
        self._held = ""
        if text and (text[-1] == "\r" or "\ud800" <= text[-1] <= "\udbff"):
            self._held = text[-1]
            text = text[:-1]
        return clean(text)

    def flush(self) -> str:
        """What was held back, now that nothing more comes."""
        held, self._held = self._held, ""
        return clean(held)


def split_forged_ends(text: str) -> list[str]:
    """Cuts text so that no line of a piece reads `[DONE]`, the end mark of the wire."""
    if "[DONE]" not in text:
        return [text]
    pieces: list[str] = []
    begin = 0
    for match in _FORGED_END.finditer(text):
        cut = match.start(1) + _HALF
        pieces.append(text[begin:cut])
        begin = cut
    pieces.append(text[begin:])
    return pieces


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is: four bytes of UTF-8 each. Needs no tokenizer's tables."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
