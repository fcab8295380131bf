"""`GET /api/usage`: what one's own answers have taken, by day and model."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from runnel.chat.reports import DayUsage
from runnel.edge.deps import SIGNED_IN, AppParts, Caller
from runnel.edge.http.shapes import DayUsageShape, SpentShape, UsageOfDaysShape, shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import UserRoute
from runnel.errors import Code, RunnelError

_DAYS: Final = timedelta(days=30)
_MOST_DAYS: Final = timedelta(days=366)
_ONE_DAY: Final = timedelta(days=1)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

router = APIRouter(prefix="/api", route_class=UserRoute, tags=["usage"], dependencies=[*SIGNED_IN])


def _written_out(value: object) -> object:
    """Left to itself, pydantic takes a number for a time too."""
    if isinstance(value, str) and _DATE.fullmatch(value) is None:
        raise ValueError("is a date, as 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(_written_out)]


@router.get("/usage", response_class=Response, responses=shaped(UsageOfDaysShape))
async def usage(
    parts: AppParts,
    caller: Caller,
    first: Annotated[Day | None, Query(alias="from", description="The first day, in UTC.")] = None,
    last: Annotated[Day | None, Query(alias="to", description="The last day, in UTC.")] = None,
) -> Response:
    """The own answers that have ended, with their tokens and cost, by day and model.

    Both days are included; without them, these are the last thirty.
    """
    first, last = _days(first, last)
    used = await parts.reports.usage(caller.user_id, first, last)
    shown: UsageOfDaysShape = {
        "usage": [_shown(day) for day in used],
        "next_cursor": None,
        "total": _total(used),
    }
    return JsonResponse(shown)


def _days(first: date | None, last: date | None) -> tuple[date, date]:
    last = last or datetime.now(UTC).date()
    first = first or date.fromordinal(max(1, last.toordinal() - _DAYS.days + 1))
    if first > last:
        raise RunnelError(Code.INVALID_REQUEST, "`from` is later than `to`.", field="from")
    if last - first + _ONE_DAY > _MOST_DAYS:
        raise RunnelError(
            Code.INVALID_REQUEST,
            f"From {first} to {last} are more than {_MOST_DAYS.days} days.",
            field="from",
        )
    return first, last


def _shown(day: DayUsage) -> DayUsageShape:
    return {
        "date": day.day.isoformat(),
        "model": day.model,
        "provider": day.provider,
        **_total([day]),
    }


def _total(used: Sequence[DayUsage]) -> SpentShape:
    prompt = sum(day.prompt_tokens for day in used)
    completion = sum(day.completion_tokens for day in used)
    costs = [day.cost for day in used if day.cost is not None]
    return {
        "generations": sum(day.generations for day in used),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "cost": math.fsum(costs) if costs else None,
    }
