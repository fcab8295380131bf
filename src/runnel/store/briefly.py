"""Brief transactions on SQLite, as whoever needs one enters them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from runnel.store.brief import Transaction
from runnel.store.faults import translate
from runnel.store.line import Line


class BriefRead(AbstractAsyncContextManager[AsyncConnection]):
    """A brief transaction, whose faults are translated. Each ask has four: as generators they would
    take as long as what they run.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    @override
    async def __aenter__(self) -> AsyncConnection:
        try:
            return await self._transaction.__aenter__()
        except Exception as error:
            translate(error)
            raise

    @override
    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            await self._transaction.__aexit__(kind, error, traceback)
        except Exception as fault:
            translate(fault)
            raise
        translate(error)


class BriefWrite(BriefRead):
    """The same when it is its turn to write; `committed` is told of its end."""

    def __init__(self, transaction: Transaction, line: Line, committed: Callable[[], None]) -> None:
        super().__init__(transaction)
        self._line = line
        self._committed = committed

    @override
    async def __aenter__(self) -> AsyncConnection:
        try:
            await self._line.pass_by()
        except TimeoutError as error:
            translate(error)
            raise
        try:
            return await super().__aenter__()
        except BaseException as error:
            self._line.leave(error)
            raise

    @override
    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        except BaseException as fault:
            self._line.leave(fault)
            raise
        self._line.leave(error)
        if error is None:
            self._committed()
