"""The secret that signs tokens, where nobody gave one: made once, kept in a file of the owner's."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from runnel.errors import StartupError


def kept_secret(file: Path) -> str:
    """What the file holds; made if there is none. Processes that start together agree on one.

    Raises StartupError if it can be neither read nor made.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            with suppress(FileExistsError):
                _write_private(file, secrets.token_urlsafe(48))
        return file.read_text().strip()
    except OSError as error:
        raise StartupError(f"cannot keep a secret in {file}: {error.strerror}") from None


def _write_private(file: Path, text: str) -> None:
    # Linked into place when it is whole, so that a process starting beside us reads all of it.
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(text + "\n")
        _publish(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, file: Path) -> None:
    try:
        os.link(draft, file)
    except FileExistsError:
        raise
    except OSError:  # a volume without hard links: then the last of several starters wins
        draft.replace(file)
