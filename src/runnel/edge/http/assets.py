"""Our own files that browsers ask for, each read once and known by the digest of its content."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import HTTPException, Request, Response, status
from fastapi.responses import FileResponse

#: By the end of the name. A file with another end is not shown to anybody.
_MEDIA_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    path: Path
    media_type: str
    #: Of the content, since times of change are equal in every reproducible build.
    digest: str

    @property
    def etag(self) -> str:
        return f'"{self.digest}"'


class Assets:
    """The files below a folder. Whatever else is asked for, whatever its name says, is a 404."""

    def __init__(self, folder: Path) -> None:
        self._assets = {
            path.relative_to(folder).as_posix(): _asset(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in _MEDIA_TYPES and path.is_file()
        }

    @property
    def names(self) -> frozenset[str]:
        """Paths below the folder, with `/`."""
        return frozenset(self._assets)

    def digest(self, name: str) -> str:
        """Whoever asks with it as `?v=` may keep the file for good."""
        return self._assets[name].digest

    def answer(self, name: str, request: Request) -> Response:
        """The file, or 304 for whoever has it. Raises HTTPException 404."""
        asset = self._assets.get(name)
        if asset is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND)
        named_by_digest = request.query_params.get("v") == asset.digest
        headers = {
            "cache-control": "public, max-age=31536000, immutable"
            if named_by_digest
            else "no-cache",
            "etag": asset.etag,
        }
        # A compressing proxy weakens the tag and sends it back so.
        known = request.headers.get("if-none-match", "")
        if asset.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return FileResponse(asset.path, media_type=asset.media_type, headers=headers)


def _asset(path: Path) -> _Asset:
    digest = sha256(path.read_bytes()).hexdigest()[:16]
    return _Asset(path, _MEDIA_TYPES[path.suffix], digest)


def content_security_policy(**directives: str) -> str:
    """A policy that lets in nothing from another host and no inline script, but what is named."""
    common = {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    own = {name.replace("_", "-"): value for name, value in directives.items()}
    return "; ".join(f"{name} {value}" for name, value in (common | own).items())
