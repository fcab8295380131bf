"""FastAPI and SQLAlchemy alone, with the two inserts of a question and its answer, and two lists.

No accounts, no limits, no provider. SQLite is set up as Runnel's, and writers stand in line.
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import Connection, DateTime, ForeignKey, Index, Text, event, insert, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime, str: Text}  # noqa: RUF012 - SQLAlchemy's name


class Session(Base):
    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    last_activity: Mapped[datetime] = mapped_column(index=True)


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (Index("in_order", "session_id", "created_at"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    role: Mapped[str]
    content: Mapped[str]
    created_at: Mapped[datetime]


class Question(BaseModel):
    message: str
    session_id: str


engine = create_async_engine(
    f"sqlite+aiosqlite:///{sys.argv[2]}", pool_size=5, max_overflow=0, connect_args={"timeout": 5}
)
writing = asyncio.Lock()


@event.listens_for(engine.sync_engine, "connect")
def configure(connection: Any, _: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@event.listens_for(engine.sync_engine, "begin")
def begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/sessions")
async def make() -> dict[str, Any]:
    row = {"id": str(uuid.uuid4()), "title": "A session", "last_activity": datetime.now(UTC)}
    async with writing, engine.begin() as connection:
        await connection.execute(insert(Session), row)
    return row


@app.post("/chat")
async def chat(question: Question) -> dict[str, Any]:
    asked = _message(question.session_id, "user", question.message)
    answered = _message(question.session_id, "assistant", "~T0000000000000000")
    async with writing, engine.begin() as connection:
        await connection.execute(insert(Message), asked)
        await connection.execute(insert(Message), answered)
    return {
        "session_id": question.session_id,
        "message_id": answered["id"],
        "text": answered["content"],
    }


def _message(session_id: str, role: str, content: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "session_id": session_id,
        "role": role,
        "content": content,
        "created_at": datetime.now(UTC),
    }


@app.get("/sessions")
async def sessions(limit: int = 20) -> dict[str, Any]:
    query = select(Session.__table__).order_by(Session.last_activity.desc()).limit(limit)
    async with engine.connect() as connection:
        rows = (await connection.execute(query)).mappings()
        return {"sessions": [dict(row) for row in rows]}


@app.get("/sessions/{session_id}/messages")
async def messages(session_id: str, limit: int = 100) -> dict[str, Any]:
    query = (
        select(Message.__table__)
        .where(Message.session_id == session_id)
        .order_by(Message.created_at)
        .limit(limit)
    )
    async with engine.connect() as connection:
        rows = (await connection.execute(query)).mappings()
        return {"messages": [dict(row) for row in rows]}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
