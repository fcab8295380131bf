"""History → model input, within the context budget. What is newest stays longest."""

from collections.abc import Sequence
from dataclasses import dataclass

from runnel.chat.entities import Turn
from runnel.chat.text import estimate_tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given, and about how many tokens that is."""

    turns: Sequence[Turn]
    tokens: int


def fit(turns: Sequence[Turn], *, system_prompt: str | None, max_tokens: int) -> Prompt:
    """System turns always, the last turn always, then as many before it as the budget allows.

    The server's own system prompt comes first.
    """
    system = [Turn("system", system_prompt)] if system_prompt else []
    system += [turn for turn in turns if turn.role == "system"]
    talk = [turn for turn in turns if turn.role != "system"]
    used = sum(map(_weight, system))
    kept: list[Turn] = []
    for turn in reversed(talk):
        weight = _weight(turn)
        if kept and used + weight > max_tokens:
            break
        used += weight
        kept.append(turn)
    return Prompt([*system, *reversed(kept)], used)


def _weight(turn: Turn) -> int:
    # Roles and separators cost providers about four tokens a turn.
    return estimate_tokens(turn.text) + 4
