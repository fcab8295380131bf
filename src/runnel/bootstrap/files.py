"""Where attachments are kept, and what tells what they are."""

from collections.abc import Generator
from contextlib import contextmanager

from runnel.files.folder import Folder
from runnel.files.kinds import Kinds
from runnel.files.pdf import PdfTexts
from runnel.settings import Settings


def files_of(settings: Settings) -> Folder:
    return Folder(settings.data_dir / "attachments")


@contextmanager
def open_kinds(settings: Settings) -> Generator[Kinds]:
    pdfs = PdfTexts(
        seconds=settings.attachment_pdf_seconds,
        max_characters=settings.attachment_max_characters,
    )
    try:
        yield Kinds(
            pdfs,
            max_pixels=settings.attachment_max_pixels,
            max_characters=settings.attachment_max_characters,
        )
    finally:
        pdfs.close()
