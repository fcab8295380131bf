"""A store whose database cannot write ends for a while."""

import threading

from runnel.chat.entities import Ending, Generation
from runnel.chat.ports import Store
from runnel.errors import Code, RunnelError


class Away:
    """It passes everything else on. Set `back`, from any thread, and it writes again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.back = threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        if not self.back.is_set():
            raise RunnelError(Code.STORE_UNAVAILABLE, "away")
        return await self._store.finish(generation_id, fence, ending)
