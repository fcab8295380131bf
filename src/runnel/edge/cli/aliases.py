"""What the shell may complete `--model` to."""

from typing import Any, cast

from runnel.errors import StartupError


def aliases(incomplete: str) -> list[str]:
    """The aliases in models.json that begin so; none where it cannot be read.

    Whoever presses Tab does not wait for providers' libraries, nor for the file to be right.
    """
    import orjson  # noqa: PLC0415 - for the shell alone

    from runnel.settings import load_settings  # noqa: PLC0415 - same

    try:
        given: Any = orjson.loads(load_settings().models_file.read_bytes())
        named = cast("dict[str, object]", given["aliases"])
        return [alias for alias in named if alias.startswith(incomplete)]
    except (OSError, ValueError, TypeError, KeyError, StartupError):
        return []
