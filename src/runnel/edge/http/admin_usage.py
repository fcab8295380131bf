"""`GET /api/admin/usage`: what everybody's answers took and how they ended, by hour or day."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from runnel.chat.overviews import Spell, Stretch
from runnel.edge.deps import SIGNED_IN, AppParts
from runnel.edge.http.admin_shapes import SpellShape, SpellsShape, TotalShape
from runnel.edge.http.shapes import SpentShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import AdminRoute
from runnel.errors import Code, RunnelError

_LENGTH: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
#: How many are shown where nothing is said, and at most.
_USUAL: Final = {"hour": 24, "day": 30}
_MOST: Final = {"hour": 31 * 24, "day": 366}
#: Of this era, so that no sum leaves what there are dates for.
_MOMENT: Final = re.compile(
    r"2[0-9]{3}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z)?"
)
_ONE_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)

router = APIRouter(
    prefix="/api/admin", route_class=AdminRoute, tags=["admin"], dependencies=[*SIGNED_IN]
)


def _written_out(value: object) -> str:
    if isinstance(value, str) and _MOMENT.fullmatch(value) is not None:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    raise ValueError("is a day, as 2026-01-31, or a time in UTC, as 2026-01-31T10:00:00Z")


Moment = Annotated[str, BeforeValidator(_written_out)]


@router.get("/usage", response_class=Response, responses=shaped(SpellsShape))
async def usage(
    parts: AppParts,
    first: Annotated[Moment | None, Query(alias="from", description="A day or time, UTC.")] = None,
    last: Annotated[Moment | None, Query(alias="to", description="The same, included.")] = None,
    by: Literal["hour", "day"] = "day",
    model: Annotated[str | None, Query(max_length=255, description="An alias.")] = None,
) -> Response:
    """All answers that have ended, by hour or day in UTC, those in which there was none too.

    Without times, these are the last 24 hours, or 30 days. What was purged counts on by day.
    """
    begins, until = _range(first, last, by)
    asked = None if model is None else model.replace("\0", "\N{REPLACEMENT CHARACTER}")
    found = await parts.overviews.spells(begins, until, by, asked)
    by_begin = {spell.begins: spell for spell in found}
    length = _LENGTH[by]
    number = (until - begins) // length + 1
    all_of_them = [begins + index * length for index in range(number)]
    shown: SpellsShape = {
        "by": by,
        "usage": [_shown(by_begin.get(moment) or Spell(moment)) for moment in all_of_them],
        "next_cursor": None,
        "total": _total(found),
    }
    return JsonResponse(shown)


def _range(first: str | None, last: str | None, by: Stretch) -> tuple[datetime, datetime]:
    """From the beginning of a stretch on; both are included."""
    until = datetime.now(UTC) if last is None else _parsed(last)
    if last is not None and "T" not in last:
        until += _ONE_DAY - _INSTANT
    length = _LENGTH[by]
    begins = _floor(until, by) - (_USUAL[by] - 1) * length
    if first is not None:
        begins = _floor(_parsed(first), by)
    if begins > until:
        raise RunnelError(Code.INVALID_REQUEST, "`from` is later than `to`.", field="from")
    if (until - begins) // length >= _MOST[by]:
        raise RunnelError(
            Code.INVALID_REQUEST,
            f"`from` is too long ago: at most {_MOST[by]} {by}s are told at once.",
            field="from",
        )
    return begins, until


def _parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


def _floor(moment: datetime, by: Stretch) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if by == "hour" else hour.replace(hour=0)


def _shown(spell: Spell) -> SpellShape:
    return {
        "begins": spell.begins,
        "failed": spell.failed,
        "errors": {**spell.errors},
        "first_token_ms": _rounded(spell.first_token_ms),
        "latency_ms": _rounded(spell.latency_ms),
        **_spent([spell]),
    }


def _total(spells: Sequence[Spell]) -> TotalShape:
    return {**_spent(spells), "failed": sum(spell.failed for spell in spells)}


def _spent(spells: Sequence[Spell]) -> SpentShape:
    prompt = sum(spell.prompt_tokens for spell in spells)
    completion = sum(spell.completion_tokens for spell in spells)
    costs = [spell.cost for spell in spells if spell.cost is not None]
    return {
        "generations": sum(spell.generations for spell in spells),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "cost": math.fsum(costs) if costs else None,
    }


def _rounded(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)
