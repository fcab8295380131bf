"""Ids and times of rows."""

from datetime import UTC, datetime

import uuid_utils


def new_id() -> str:
    """A UUIDv7 (RFC 9562): ids made later sort later."""
    return str(uuid_utils.uuid7())


def now() -> datetime:
    return datetime.now(UTC)
