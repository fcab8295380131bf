"""What a process has loaded, moved into huge pages: the processor finds it with fewer looks.

Linux 6.1 or later, and only where the system has them to give and nobody has forbidden them; elsewhere
nothing happens.
"""

import ctypes
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_BYTES: Final = 2 * 1024 * 1024
_MADV_COLLAPSE: Final = 25
_MAPS: Final = Path("/proc/self/maps")
_ENABLED: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
#: Memory of the process's own, in small pages: what is written to and is of no file.
_OWN: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?$", re.MULTILINE)


def use_huge_pages() -> None:
    """To be called once, when all is loaded. Takes a fifth of a second.

    For what is there now, not for what will come: a stream's few kilobytes need no two megabytes.
    """
    with suppress(OSError, AttributeError, TypeError):  # another system, or another C library
        if "[never]" in _ENABLED.read_text():  # which this call would pass over
            return
        madvise: Any = ctypes.CDLL(None).madvise
        for found in _OWN.finditer(_MAPS.read_text(errors="replace")):
            first, end = (int(address, 16) for address in found.groups())
            first = -(-first // _BYTES) * _BYTES
            end = end // _BYTES * _BYTES
            if first < end:
                # What it cannot take it leaves as it was.
                madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _MADV_COLLAPSE)
