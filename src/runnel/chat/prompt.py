"""History → model input, within the context budget. What is newest stays longest."""

from collections.abc import Sequence
from dataclasses import dataclass

from runnel.chat.attachments.contents import NOTHING, Contents
from runnel.chat.attachments.room import Room
from runnel.chat.entities import Context, Fitted, Turn
from runnel.chat.sessions.values import SessionSettings
from runnel.chat.text import estimate_tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given, and about how many tokens that is; `context`: what of the talk it
    is, where that was fitted.
    """

    turns: Sequence[Turn]
    tokens: int
    context: Context | None = None

    @property
    def fitted(self) -> Fitted:
        return Fitted(self.tokens, self.context)


def instructions(system_prompt: str | None, settings: SessionSettings) -> str | None:
    """The system prompt of an answer: the alias' or the server's, then what the session is set to.

    The first is whoever's runs the server: a session adds to it and takes nothing away.
    """
    language = settings.language and f"Answer in this language (BCP 47): {settings.language}"
    said = [text for text in (system_prompt, settings.system_prompt, language) if text]
    return "\n\n".join(said) or None


def fit(
    turns: Sequence[Turn],
    *,
    system_prompt: str | None,
    max_tokens: int,
    contents: Contents = NOTHING,
    images: bool = False,
    beyond: int = 0,
) -> Prompt:
    """The server's system prompt and the question always; the rest as the budget allows.

    System turns of the history go before talk, as they hold for all of it; of both the newest
    stay, each turn with as much of its attachments as there is room for. `contents` is what is in
    these, `images` whether the model takes pictures. What is kept stands in its order, system
    turns first. `beyond`: so many messages of the talk are not even among the turns.
    """
    own = [Turn("system", system_prompt)] if system_prompt else []
    *earlier, question = turns
    left = max_tokens - sum(map(_weight, [*own, question]))
    system, left = _newest([turn for turn in earlier if turn.role == "system"], left)
    room = Room(left, contents, images=images)
    talk = [room.enclose(question)]
    for turn in reversed([turn for turn in earlier if turn.role != "system"]):
        weight = _weight(turn)
        if weight > room.left:
            break
        room.left -= weight
        talk.append(room.enclose(turn))
    given = len(system) + len(talk)
    context = Context(
        messages=given,
        left_out=len(turns) - given + beyond,
        attachments_cut=room.cut,
        attachments_left_out=sum(len(turn.attachments) for turn in turns) - room.given,
    )
    return Prompt([*own, *system, *reversed(talk)], max_tokens - room.left, context)


def whole(turns: Sequence[Turn], *, system_prompt: str | None) -> Prompt:
    """All of it, for clients that keep the talk themselves and expect to be told if it is long."""
    own = [Turn("system", system_prompt)] if system_prompt else []
    return Prompt([*own, *turns], sum(map(_weight, [*own, *turns])))


def _newest(turns: Sequence[Turn], budget: int) -> tuple[list[Turn], int]:
    """The longest tail of turns that a budget allows, and what is left of it."""
    kept: list[Turn] = []
    for turn in reversed(turns):
        weight = _weight(turn)
        if weight > budget:
            break
        budget -= weight
        kept.append(turn)
    return kept[::-1], budget


def _weight(turn: Turn) -> int:
    # Roles and separators cost providers about four tokens a turn.
    calls = sum(estimate_tokens(f"{call.name}{call.arguments}") for call in turn.tool_calls)
    return estimate_tokens(turn.text) + calls + 4
