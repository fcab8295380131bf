"""What comes with an answer that is taken over."""

from dataclasses import dataclass

from runnel.events import Usage


@dataclass(frozen=True, slots=True)
class Inherited:
    """What another instance has made of an answer that is taken over.

    `text` is what is gone on with; empty, it is begun anew. Either way in another epoch: who says
    that a log was not put back to an older state, and that readers have no more than it shows?
    `spent` is what has been used for all that was said.
    """

    text: str
    spent: Usage | None
    age_seconds: float
