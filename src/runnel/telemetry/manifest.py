"""What a run of the server was: its code, its libraries, its settings without any secret."""

import platform
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: All up to the last `@`: a password in an address may hold anything, unescaped too.
_USERINFO: Final = re.compile(r"(?<=://)\S*@")
_QUERY: Final = re.compile(r"(://[^\s?#]*)[?#]\S*")


def manifest(
    run_id: str,
    started_at: datetime,
    settings: Mapping[str, object],
    *,
    checkout: Path,
    conceal: Callable[[str], str],
) -> dict[str, object]:
    """The manifest's members. `checkout` is where the code stands, if it stands in one at all."""
    return {
        "run_id": run_id,
        "started_at": started_at,
        "runnel": _version("runnel"),
        "git_sha": git_sha(checkout),
        "python": platform.python_version(),
        "dependencies": dependencies("runnel"),
        "settings": without_secrets(settings, conceal),
    }


def git_sha(checkout: Path) -> str | None:
    """The commit that is checked out there; None if that is no checkout, or cannot be read."""
    try:
        folder = checkout / ".git"
        if folder.is_file():  # a worktree: `gitdir: PATH`
            folder = checkout / folder.read_text().partition(":")[2].strip()
        head = (folder / "HEAD").read_text().strip()
        if head.startswith("ref:"):
            head = _resolved(folder, head.partition(":")[2].strip())
    except (OSError, ValueError):
        return None
    return head if _SHA.fullmatch(head) else None


def _resolved(folder: Path, ref: str) -> str:
    """What a ref points at: in a file of its own, or among the packed ones."""
    shared = folder / "commondir"
    common = folder / shared.read_text().strip() if shared.is_file() else folder
    for place in (folder / ref, common / ref):
        if place.is_file():
            return place.read_text().strip()
    packed = (common / "packed-refs").read_text().splitlines()
    found = [line.split(" ", 1)[0] for line in packed if line.endswith(f" {ref}")]
    return found[0] if found else ""


def dependencies(package: str) -> dict[str, str]:
    """What a package declares to need, by name, in the version that is installed."""
    try:
        declared = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return {}
    names = {match[0].lower() for line in declared if (match := _NAME.match(line))}
    versions = {name: _version(name) for name in sorted(names)}
    return {name: version for name, version in versions.items() if version is not None}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def without_secrets(
    settings: Mapping[str, object], conceal: Callable[[str], str]
) -> dict[str, object]:
    """The settings but those that are secrets; addresses lose who signs in and what is asked."""

    def shown(value: Any) -> object:
        match value:
            case None | bool() | int() | float():
                return value
            case tuple() | list():
                return [shown(one) for one in value]  # pyright: ignore[reportUnknownVariableType] - of anything
            case _:
                text = _USERINFO.sub("[secret]@", str(value))
                return conceal(_QUERY.sub(r"\1?[secret]", text))

    return {
        name: shown(value)
        for name, value in settings.items()
        if not hasattr(value, "get_secret_value")
    }
