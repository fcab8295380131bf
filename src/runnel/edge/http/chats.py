"""`/api/chats`: the same sessions in the words of chats."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from typing_extensions import TypedDict

from runnel.accounts.entities import Identity
from runnel.chat.entities import SessionRef
from runnel.chat.sessions.changes import NewSession
from runnel.chat.sessions.entities import Session, StoredMessage
from runnel.chat.sessions.ports import MessagePage, Wanted
from runnel.edge.clients import client_of
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.dialects.chat_ids import chat_id as shown_id
from runnel.edge.http.downloading import Download
from runnel.edge.http.session_bodies import Title
from runnel.edge.http.session_paths import named
from runnel.edge.http.shapes import shaped
from runnel.edge.json import JsonResponse
from runnel.edge.parts import Parts
from runnel.edge.route import UserRoute
from runnel.errors import Code, RunnelError

_MOST_A_PAGE: Final = 100
_MESSAGES_A_READ: Final = 500

router = APIRouter(route_class=UserRoute, tags=["chats"], dependencies=[*SIGNED_IN])


class ChatMessageShape(TypedDict):
    id: str
    content: str
    is_ai: bool
    timestamp: datetime


class ListedChatShape(TypedDict):
    """`id` is the session's name if it has one, an integer as a number, else its id."""

    id: str | int
    title: str | None
    created_at: datetime


class ChatShape(ListedChatShape):
    messages: list[ChatMessageShape]


class ChatsShape(TypedDict):
    chats: list[ListedChatShape]
    next_cursor: str | None


class AbortedChatShape(TypedDict):
    """`status` is that of the chat's last answer, `idle` in a chat without one."""

    chat_id: str | int
    status: str
    generation_id: str | None


class ChatBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: Title | None = None


@router.post(
    "/api/chats", response_class=Response, status_code=201, responses=shaped(ChatShape, 201)
)
async def create_chat(
    request: Request, parts: AppParts, caller: Caller, body: ChatBody | None = None
) -> Response:
    """A new chat."""
    new = NewSession(title=body.title if body else None, client=client_of(request))
    await parts.limiter.admit_new_session(request)
    shown: ChatShape = {
        **_listed(await parts.sessions.create(caller.user_id, new)),
        "messages": [],
    }
    return JsonResponse(shown, 201)


@router.get("/api/users/{user_id}/chats", response_class=Response, responses=shaped(ChatsShape))
async def list_chats(
    parts: AppParts,
    caller: Caller,
    user_id: str,
    *,
    limit: Annotated[int, Query(ge=1, le=_MOST_A_PAGE)] = 20,
    cursor: str | None = None,
) -> Response:
    """The own chats, without messages, those with the newest activity first."""
    if user_id != "me" and user_id.lower() not in (caller.user_id, caller.username.lower()):
        raise RunnelError(Code.NOT_FOUND, "There is no such user.")
    found, following = await parts.sessions.page(caller.user_id, Wanted(), cursor, limit)
    shown: ChatsShape = {
        "chats": [_listed(session) for session in found],
        "next_cursor": following,
    }
    return JsonResponse(shown)


@router.get("/api/chats/{chat_id}", response_class=Response, responses=shaped(ChatShape))
async def get_chat(parts: AppParts, caller: Caller, chat_id: str) -> Response:
    """A chat with all messages of its active branch, in order."""
    session = await parts.sessions.get(caller.user_id, named(chat_id, caller))
    ref = SessionRef(id=session.id)
    first = await parts.sessions.messages(caller.user_id, ref, MessagePage(_MESSAGES_A_READ))
    closed = asyncio.Event()
    with ExitStack() as stack:
        stack.enter_context(parts.watch.holding(caller, closed.set))
        return Download(
            _encoded(_listed(session))[:-1] + b',"messages":[',
            _written(parts, caller, ref, *first),
            media_type="application/json",
            closed=closed,
            held=stack.pop_all(),
            send_timeout_seconds=parts.settings.send_timeout_seconds,
        )
    raise AssertionError  # ExitStack swallows nothing


@router.post(
    "/api/chats/{chat_id}/abort", response_class=Response, responses=shaped(AbortedChatShape)
)
async def abort_chat(parts: AppParts, caller: Caller, chat_id: str) -> Response:
    """Stops what runs in a chat; its text so far is kept.

    202 with the status `abort_requested` if its end is not confirmed yet.
    """
    session = await parts.sessions.get(caller.user_id, named(chat_id, caller))
    last = await parts.sessions.abort(caller.user_id, SessionRef(id=session.id))
    pending = last is not None and not last.status.terminal
    status = "abort_requested" if pending else last.status if last else "idle"
    shown: AbortedChatShape = {
        "chat_id": shown_id(session.id, session.name),
        "status": status,
        "generation_id": last and last.id,
    }
    return JsonResponse(shown, 202 if pending else 200)


async def _written(
    parts: Parts,
    caller: Identity,
    ref: SessionRef,
    messages: Sequence[StoredMessage],
    following: str | None,
) -> AsyncGenerator[bytes]:
    """The messages of a chat as JSON, a page at a time: a long one needs no more memory."""
    while True:
        joined = b",".join(_encoded(_shown(message)) for message in messages)
        if following is None:
            break
        yield joined + b","
        page = MessagePage(_MESSAGES_A_READ, following)
        messages, following = await parts.sessions.messages(caller.user_id, ref, page)
    yield joined + b"]}\n"


def _encoded(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def _listed(session: Session) -> ListedChatShape:
    return {
        "id": shown_id(session.id, session.name),
        "title": session.title,
        "created_at": session.started_at,
    }


def _shown(message: StoredMessage) -> ChatMessageShape:
    return {
        "id": message.id,
        "content": message.content,
        "is_ai": message.role == "assistant",
        "timestamp": message.created_at,
    }
