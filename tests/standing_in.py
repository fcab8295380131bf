"""What the tests of models that stand in for others share."""

from answers import Chat, ToldModel
from runnel.chat.entities import Generation
from runnel.chat.following import Follower
from runnel.chat.model_ports import NotTakenError, Piece
from runnel.errors import Code
from runnel.events import Token, Usage
from waiting import soon

REFUSED = NotTakenError(Code.UPSTREAM_RATE_LIMITED, "no more just now")


def with_second(chat: Chat) -> ToldModel:
    """The chat's model has one that stands in for it."""
    second = ToldModel("chat/second")
    chat.others.append(second)
    return second


def stop_with(model: ToldModel, usage: Usage | None = None) -> None:
    model.told.put_nowait([Piece(finish_reason="stop", usage=usage)])
    model.told.put_nowait(None)


def names(generation: Generation) -> tuple[str, str]:
    return generation.model, generation.provider_model


async def until_asked(model: ToldModel, *, times: int = 1) -> None:
    """Until a model has been asked so often."""
    await soon(lambda: len(model.asked) >= times)


async def read_a_token(reader: Follower) -> None:
    """Until the last event that is there is a piece of text."""
    while not isinstance((await reader.next())[-1].events[-1], Token):
        pass
