"""The whole schema: the tables, with their indexes of some rows alone. For the migrations only:
told of the first such index, SQLAlchemy loads all that it knows of Postgres, 3 MB.
"""

from typing import Any, Final

from sqlalchemy import Index, text
from sqlalchemy.orm import InstrumentedAttribute

from runnel.store.tables import AttachmentRow, Base, GenerationRow, MessageRow, SessionRow


def _partial(
    name: str, *columns: InstrumentedAttribute[Any], where: str, unique: bool = False
) -> None:
    """An index of the columns' table, of the rows alone of which it holds."""
    there = text(where)
    Index(name, *columns, unique=unique, sqlite_where=there, postgresql_where=there)


# Most rows have nothing in the last column, and each new one would write that.
_partial(
    "uq_sessions_user_id_name",
    SessionRow.user_id,
    SessionRow.name,
    unique=True,
    where="name IS NOT NULL",
)
_partial("ix_sessions_closed_at", SessionRow.closed_at, where="closed_at IS NOT NULL")
_partial("ix_sessions_purged_at", SessionRow.purged_at, where="purged_at IS NOT NULL")
# One answer for one key, however many asks race: keys that are free are null.
_partial(
    "uq_generations_user_id_ask_key",
    GenerationRow.user_id,
    GenerationRow.ask_key,
    unique=True,
    where="ask_key IS NOT NULL",
)
# One answer at a time in a session: the database itself refuses a second.
_partial(
    "uq_generations_live_session",
    GenerationRow.session_id,
    unique=True,
    where="status IN ('queued', 'running')",
)
# What begins a session answers nothing.
_partial("ix_messages_parent_id", MessageRow.parent_id, where="parent_id IS NOT NULL")
# They hold for the whole branch, however long ago they were said.
_partial("ix_messages_system", MessageRow.session_id, MessageRow.depth, where="role = 'system'")
_partial("ix_attachments_unused", AttachmentRow.created_at, where="session_id IS NULL")

SCHEMA: Final = Base.metadata
