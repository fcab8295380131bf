"""How large a picture is, by its header alone. Apart, for Pillow is loaded with the first picture."""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final

from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

__all__ = ["DecompressionBombError", "size"]

#: Each reads a header when it is made, and no pixel. PIL.Image.open would warn by bounds of its own.
_READERS: Final[Mapping[str, Callable[[BinaryIO], Any]]] = {  # Any: Pillow's plugins are untyped
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/webp": WebPImageFile,
    "image/gif": GifImageFile,
}


def size(kind: str, header: BinaryIO) -> tuple[int, int]:
    """Width and height. Raises anything for a broken header."""
    return _READERS[kind](header).size
