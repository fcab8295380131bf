"""What an attachment is called: shown to people and to models, and never a path."""

import re
from typing import Final

from runnel.chat.text import clean

MOST_CHARACTERS: Final = 255
#: Controls, ends of lines, and what turns the direction of what is read: a name that shows as
#: `report_fdp.exe` may be called `report_exe.pdf`.
_UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def file_name(given: str) -> str:
    """The last part of what may be a path, of either kind; `file` where nothing is left."""
    last = re.split(r"[/\\]", clean(given))[-1]
    name = _UNFIT.sub("", last).strip()[:MOST_CHARACTERS].rstrip()
    return name if name.strip(".") else "file"
