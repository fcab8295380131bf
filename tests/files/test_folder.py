"""Where attachments' bytes are kept: what is deleted is gone, whatever went on before."""

import asyncio
import io
import threading
from pathlib import Path
from typing import Final

import pytest
from typing_extensions import override

from runnel.files.folder import Folder

ID: Final = "01a21f32-0000-7000-8000-000000000001"


class Held(io.BytesIO):
    """A file that is read once it is let go."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reached = threading.Event()
        self.let_go = threading.Event()

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        self.reached.set()
        self.let_go.wait(10)
        return super().read(size)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def test_who_is_cancelled_while_writing_waits_for_it_so_that_it_can_be_deleted(
    tmp_path: Path,
) -> None:
    folder, file = Folder(tmp_path), Held(b"text")
    writing = asyncio.create_task(folder.write(ID, file, "other text"))
    await asyncio.to_thread(file.reached.wait, 10)
    writing.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not writing.done()
    file.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await folder.delete([ID])
    assert files(tmp_path) == []


async def test_what_a_crash_has_left_half_written_is_deleted_too(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    await folder.write(ID, io.BytesIO(b"text"), "other text")
    for path in files(tmp_path):
        path.with_name(f"{path.name}.part").write_bytes(b"te")
    assert len(files(tmp_path)) == 4
    await folder.delete([ID])
    assert files(tmp_path) == []
