"""The secret that signs tokens, where nobody gave one: made once, kept in a file of the owner's."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from runnel.errors import StartupError

_LOOKS: Final = 20
_LOOK_SECONDS: Final = 0.05


def kept_secret(file: Path) -> str:
    """What the file holds; made if there is none. Processes that start together agree on one.

    Raises StartupError if it can be neither read nor made.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            with suppress(FileExistsError):
                _write_private(file, secrets.token_urlsafe(48))
        return _whole(file)
    except OSError as error:
        raise StartupError(f"cannot keep a secret in {file}: {error.strerror}") from None


def _whole(file: Path) -> str:
    text = ""
    for _ in range(_LOOKS):
        text = file.read_text()
        if text.endswith("\n"):
            break
        time.sleep(_LOOK_SECONDS)  # another process is writing it; or somebody wrote it by hand
    if not text.strip():
        raise StartupError(f"{file} holds no secret; remove it, and another one is made")
    return text.strip()


def _write_private(file: Path, text: str) -> None:
    # Linked into place when it is whole, so that a process starting beside us reads all of it.
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        _create(draft, text + "\n")
        _publish(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, file: Path) -> None:
    try:
        os.link(draft, file)
    except FileExistsError:
        raise
    except OSError:  # a volume without hard links: then it is seen while it is being written
        _create(file, draft.read_text())


def _create(file: Path, text: str) -> None:
    """Raises FileExistsError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
