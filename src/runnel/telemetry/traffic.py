"""How much is sent to whom: the bytes of answers' bodies, as this instance hands them on."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

UserClass = Literal["admin", "user", "guest", "nobody"]
USER_CLASSES: Final[tuple[UserClass, ...]] = get_args(UserClass)
WINDOW_SECONDS: Final = 60
#: Of how many users the bytes are known one by one: those who were sent something last.
MOST_USERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes in the last minute, and since the server's start."""

    last_minute: int
    ever: int


class _Tally:
    """Counts by the second, and keeps a minute of them."""

    __slots__ = ("_recent", "ever")

    def __init__(self) -> None:
        self.ever = 0
        self._recent: deque[list[int]] = deque()  # pairs of a second and its bytes

    def add(self, size: int, second: int) -> None:
        self.ever += size
        recent = self._recent
        if recent and recent[-1][0] == second:
            recent[-1][1] += size
            return
        recent.append([second, size])
        while recent[0][0] <= second - WINDOW_SECONDS:
            recent.popleft()

    def sent(self, second: int) -> Sent:
        since = second - WINDOW_SECONDS
        return Sent(sum(size for at, size in self._recent if at > since), self.ever)


class Traffic:
    """All that is sent. `counters` are told each size, by the class of its user."""

    def __init__(
        self,
        counters: Mapping[UserClass, Callable[[int], None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        most_users: int = MOST_USERS,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._most_users = most_users
        self._all = _Tally()
        self._users: OrderedDict[str, _Tally] = OrderedDict()

    def of(self, user_id: str | None, kind: UserClass) -> Callable[[int], None]:
        """What is to be told how much more one request has sent, about once a second."""
        count = self._counters[kind]
        clock, everything, users = self._clock, self._all, self._users

        def add(size: int) -> None:
            count(size)
            second = int(clock())
            everything.add(size, second)
            if user_id is not None:
                tally = users.get(user_id)
                if tally is None:
                    tally = self._begin(user_id)
                else:
                    users.move_to_end(user_id)
                tally.add(size, second)

        return add

    def total(self) -> Sent:
        return self._all.sent(int(self._clock()))

    def users(self, most: int) -> Sequence[tuple[str, Sent]]:
        """Who was sent most, in the last minute and then ever; with their ids."""
        second = int(self._clock())
        known = [(user_id, tally.sent(second)) for user_id, tally in self._users.items()]
        known.sort(key=lambda one: (one[1].last_minute, one[1].ever), reverse=True)
        return known[:most]

    def _begin(self, user_id: str) -> _Tally:
        tally = self._users[user_id] = _Tally()
        if len(self._users) > self._most_users:
            self._users.popitem(last=False)
        return tally
