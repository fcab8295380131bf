"""One connection's place in a channel: what it was told of, and what it is to be told yet."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from runnel.chat.notices import Asked, Gone, Notice, Typing


@dataclass(frozen=True, slots=True)
class Recent:
    """A question by its generation, with whatever tells whether somebody has heard of it."""

    generation_id: str
    user_id: str
    session_id: str
    live: bool
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Listener:
    """A connection. `tell` says whether it could take a question; what it could not, it is told
    again. `gone`: its session is no more.
    """

    connection_id: str
    tell: Callable[[Asked], bool]
    tell_typing: Callable[[Typing], None]
    gone: Callable[[], None]


class Channel:
    """One connection's place: in a session, or, without one, in all sessions of its user."""

    def __init__(self, user_id: str, session_id: str | None, listener: Listener) -> None:
        self.user_id = user_id
        self.session_id = session_id
        self._listener = listener
        self._known: dict[str, datetime] = {}
        self._untold: Sequence[Asked] = ()
        self._early: list[Asked] | None = []  # until it is known what came before
        self._waiting: dict[str, Recent] = {}

    @property
    def waiting(self) -> Collection[Recent]:
        """What the listener could not take; the next look tells of it."""
        return self._waiting.values()

    def knows(self, generation_id: str, asked_at: datetime) -> None:
        """It needs not be told of this one."""
        self._known[generation_id] = asked_at
        self._waiting.pop(generation_id, None)

    def missed(self, asked: Asked) -> None:
        """It could not be told to its end; the next look tells it anew."""
        self._known.pop(asked.generation_id, None)
        self._wait_for(asked)

    def begin(self, untold: Sequence[Asked] = ()) -> None:
        """What is heard is told from now on, but before it these, unless they are known by then."""
        self._untold = untold
        early, self._early = self._early or (), None
        for asked in early:
            self.hear(asked)

    def lacks(self, recent: Recent) -> bool:
        return self._concerns(recent.session_id) and recent.generation_id not in self._known

    def hear(self, notice: Notice) -> None:
        if not self._concerns(notice.session_id):
            return
        if isinstance(notice, Gone):
            self.lose()
        elif isinstance(notice, Typing):
            if notice.origin != self._listener.connection_id:
                self._listener.tell_typing(notice)
        elif self._early is not None:
            self._early.append(notice)
        else:
            for asked in self._with_untold(notice):
                # What waits is not overtaken.
                self._hear_of(asked, can_take=not self._waiting)

    def lose(self) -> None:
        """A session is gone: whoever is in it is nowhere any more."""
        if self.session_id is not None:
            self._listener.gone()

    def catch_up(self, looked_for: set[str], found: Iterable[Asked]) -> None:
        """A look has found these of its user, in their order, and nothing of the others."""
        for generation_id in looked_for & self._waiting.keys():
            del self._waiting[generation_id]
        for each in found:
            if self._concerns(each.session_id):
                for asked in self._with_untold(each):
                    self._hear_of(asked, can_take=True)

    def _with_untold(self, asked: Asked) -> Sequence[Asked]:
        untold, self._untold = self._untold, ()
        return (*untold, asked)

    def _hear_of(self, asked: Asked, *, can_take: bool) -> None:
        generation_id = asked.generation_id
        if generation_id in self._known:
            return
        # Whoever asked is answered by itself.
        own = asked.origin == self._listener.connection_id
        if own or (can_take and self._listener.tell(asked)):
            self.knows(generation_id, asked.asked_at)
        else:
            self._wait_for(asked)

    def _wait_for(self, asked: Asked) -> None:
        self._waiting[asked.generation_id] = Recent(
            asked.generation_id,
            asked.user_id,
            asked.session_id,
            live=False,
            asked_at=asked.asked_at,
        )

    def forget(self, before: datetime, still: Collection[str]) -> None:
        """What no look will find any more."""
        self._known = {
            generation_id: at
            for generation_id, at in self._known.items()
            if at >= before or generation_id in still
        }

    def _concerns(self, session_id: str) -> bool:
        return self.session_id is None or self.session_id == session_id
