"""`/api/chat/sessions`: the own sessions, and what was said in them."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from runnel.chat.sessions.entities import SessionStatus
from runnel.chat.sessions.ports import MessagePage, Wanted
from runnel.chat.sessions.searching import parse_query
from runnel.chat.text import clean
from runnel.edge.clients import client_of
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.session_bodies import (
    BranchBody,
    NewSessionBody,
    ReactionBody,
    SessionChangesBody,
)
from runnel.edge.http.session_paths import named
from runnel.edge.http.session_shapes import (
    MessagesShape,
    ReactionsShape,
    SessionShape,
    SessionsShape,
    found_session_shape,
    message_shape,
    reactions_shape,
    session_shape,
)
from runnel.edge.http.shapes import shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute

_MOST_A_PAGE: Final = 100
_MOST_MESSAGES_A_PAGE: Final = 500

router = APIRouter(
    prefix="/api/chat/sessions",
    route_class=UserRoute,
    tags=["sessions"],
    dependencies=[*SIGNED_IN],
)


@router.get("", response_class=Response, responses=shaped(SessionsShape))
async def list_sessions(
    parts: AppParts,
    caller: Caller,
    *,
    status: SessionStatus | None = None,
    project_id: Annotated[str | None, Query(max_length=128)] = None,
    q: Annotated[
        str | None, Query(description='Words, as they begin; "words" as they stand.')
    ] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_A_PAGE)] = 20,
    cursor: str | None = None,
) -> Response:
    """The own sessions, those with the newest activity first.

    With `q` those in whose title, or in one of whose messages, all of its words stand, whatever
    their case and accents; each says where, as `matches`. Of a message its first 262,144
    characters are searched.
    """
    # A search that was emptied is none.
    query = parse_query(clean(q)) if q and q.strip() else None
    wanted = Wanted(status, project_id and clean(project_id), query)
    found, following = await parts.sessions.page(caller.user_id, wanted, cursor, limit)
    shape = session_shape if query is None else found_session_shape
    shown: SessionsShape = {
        "sessions": [shape(session) for session in found],
        "next_cursor": following,
    }
    return JsonResponse(shown)


@router.post("", response_class=Response, status_code=201, responses=shaped(SessionShape, 201))
async def create_session(
    request: Request, parts: AppParts, caller: Caller, body: NewSessionBody | None = None
) -> Response:
    """A new session, with a name of the client's own if it is given one."""
    new = (body or NewSessionBody()).to_new(caller, client_of(request))
    await parts.limiter.admit_new_session(request)
    return JsonResponse(session_shape(await parts.sessions.create(caller.user_id, new)), 201)


@router.get("/{session_id}", response_class=Response, responses=shaped(SessionShape))
async def get_session(parts: AppParts, caller: Caller, session_id: str) -> Response:
    """A session, by its id or its name."""
    session = await parts.sessions.get(caller.user_id, named(session_id, caller))
    return JsonResponse(session_shape(session))


@router.patch("/{session_id}", response_class=Response, responses=shaped(SessionShape))
async def change_session(
    parts: AppParts, caller: Caller, session_id: str, body: SessionChangesBody
) -> Response:
    """Renames it, sets it, closes it or opens it again; the next answers obey."""
    ref = named(session_id, caller)
    changed = await parts.sessions.change(caller.user_id, ref, body.to_changes())
    return JsonResponse(session_shape(changed))


@router.delete(
    "/{session_id}",
    response_class=Response,
    responses=shaped(SessionShape) | {204: {"description": "It is gone, with all that was in it"}},
)
async def close_session(
    parts: AppParts,
    caller: Caller,
    session_id: str,
    *,
    purge: Annotated[bool, Query(description="Takes it away for good.")] = False,
) -> Response:
    """Aborts what runs, keeping its text, and closes: it takes no more questions.

    With `purge` it is gone at once, with everything that was in it, and its name is free.
    """
    ref = named(session_id, caller)
    if purge:
        session = await parts.sessions.get(caller.user_id, ref)
        await parts.purging.purge_session(caller.user_id, session.id)
        return Response(status_code=204)
    return JsonResponse(session_shape(await parts.sessions.close(caller.user_id, ref)))


@router.get("/{session_id}/messages", response_class=Response, responses=shaped(MessagesShape))
async def list_messages(
    parts: AppParts,
    caller: Caller,
    session_id: str,
    *,
    tree: Annotated[bool, Query(description="All branches, parents before children.")] = False,
    limit: Annotated[int, Query(ge=1, le=_MOST_MESSAGES_A_PAGE)] = 100,
    cursor: str | None = None,
) -> Response:
    """The active branch in order. A page may be shorter than `limit` where texts are long."""
    page = MessagePage(limit, cursor, tree)
    ref = named(session_id, caller)
    found, following = await parts.sessions.messages(caller.user_id, ref, page)
    shown: MessagesShape = {
        "messages": [message_shape(message) for message in found],
        "next_cursor": following,
    }
    return JsonResponse(shown)


@router.put("/{session_id}/branch", response_class=Response, responses=shaped(SessionShape))
async def choose_branch(
    parts: AppParts, caller: Caller, session_id: str, body: BranchBody
) -> Response:
    """Makes the branch of a leaf the active one; of a message further up, of its newest leaf."""
    ref = named(session_id, caller)
    chosen = await parts.sessions.choose_branch(caller.user_id, ref, body.message_id)
    return JsonResponse(session_shape(chosen))


@router.put(
    "/{session_id}/messages/{message_id}/reaction",
    response_class=Response,
    responses=shaped(ReactionsShape),
)
async def react(
    parts: AppParts, caller: Caller, session_id: str, message_id: str, body: ReactionBody
) -> Response:
    """What its reader thinks of an answer; what there is of it then."""
    ref = named(session_id, caller)
    reactions = await parts.sessions.react(caller.user_id, ref, message_id, body.to_changes())
    return JsonResponse(reactions_shape(reactions))
