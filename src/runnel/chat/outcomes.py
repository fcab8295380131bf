"""How producing an answer may end."""

from dataclasses import dataclass

from runnel.chat.entities import INTERRUPTED, Failure, Status
from runnel.errors import Code
from runnel.events import FinishReason


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a producer wants to be the end; whether it is, the row decides."""

    status: Status
    finish_reason: FinishReason | None = None
    failure: Failure | None = None
    aborted_by: str | None = None


def completed(finish_reason: FinishReason) -> Outcome:
    return Outcome(Status.COMPLETED, finish_reason=finish_reason)


def failed(
    code: Code, message: str, *, retryable: bool = True, retry_after: float | None = None
) -> Outcome:
    return Outcome(Status.FAILED, failure=Failure(code, message, retryable, retry_after))


def interrupted() -> Outcome:
    return Outcome(Status.INTERRUPTED, failure=INTERRUPTED)


def aborted(by: str) -> Outcome:
    return Outcome(Status.ABORTED, aborted_by=by)
