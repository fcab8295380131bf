"""The long-poll: the same events on the same cursor, for clients that can read no stream."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from runnel.accounts.entities import Identity
from runnel.chat.audiences import POLL_LINGER_SECONDS
from runnel.chat.following import Follower
from runnel.edge.dialects.members import members
from runnel.edge.http.following import Held
from runnel.edge.http.shapes import PollShape
from runnel.edge.json import JsonResponse
from runnel.events import Batch


async def poll(
    request: Request, caller: Identity, follower: Follower, wait_seconds: float
) -> Response:
    """What there is behind the cursor, a page at most; waits so long if there is nothing yet."""
    with Held(request, caller, follower, linger=POLL_LINGER_SECONDS, kind="poll"):
        try:
            await follower.fetch()
            async with asyncio.timeout(wait_seconds):
                batches = await follower.next()
        except TimeoutError:
            batches = ()
    return JsonResponse(_page(batches, follower))


def _page(batches: Sequence[Batch], follower: Follower) -> PollShape:
    return {
        "events": [event for batch in batches for event in _events(batch)],
        "position": str(follower.position) if follower.position else None,
        "done": follower.finished,
    }


def _events(batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "position": f"{batch.epoch}-{batch.offset + index}",
            "type": event.type,
            **members(event),
        }
        for index, event in enumerate(batch.events)
    ]
