"""Paths as clients see them, behind a proxy's prefix too."""

from collections.abc import Mapping
from typing import Any


def generation_path(scope: Mapping[str, Any], generation_id: str) -> str:
    return f"{scope.get('root_path', '')}/api/generations/{generation_id}"
