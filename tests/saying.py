"""What a model said, put together from its pieces."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from runnel.chat import model_ports
from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Model, Piece
from runnel.events import FinishReason, Usage

QUESTION = (Turn("user", "why?"),)
_NOTHING = Params()


@dataclass
class Said:
    """One whole answer; of each call its id, name and arguments, by index."""

    pieces: list[Piece] = field(default_factory=list[Piece])

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def texts(self) -> list[str]:
        return [piece.text for piece in self.pieces if piece.text]

    @property
    def reasons(self) -> list[FinishReason]:
        return [piece.finish_reason for piece in self.pieces if piece.finish_reason]

    @property
    def usages(self) -> list[Usage]:
        return [piece.usage for piece in self.pieces if piece.usage]

    @property
    def calls(self) -> dict[int, tuple[str | None, str | None, str]]:
        calls: dict[int, tuple[str | None, str | None, str]] = {}
        for call in (call for piece in self.pieces for call in piece.tool_calls):
            call_id, name, arguments = calls.get(call.index, (None, None, ""))
            calls[call.index] = (
                call_id or call.id,
                name or call.name,
                arguments + call.arguments,
            )
        return calls


async def said(
    model: Model, turns: Sequence[Turn] = QUESTION, params: Params = _NOTHING, /
) -> Said:
    """Asks, and reads to the end."""
    answer = Said()
    async with aclosing(model.stream(turns, params)) as batches:
        async for batch in batches:
            assert batch, "never an empty batch"
            answer.pieces += pieces_of(batch)
    return answer


def pieces_of(batch: Sequence[model_ports.Said]) -> list[Piece]:
    """What came as mere text, too, as pieces."""
    return [Piece(each) if isinstance(each, str) else each for each in batch]
