"""Who of an alias and its fallbacks may answer: those that take all that is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from runnel.chat.entities import Ask, Fitted, Turn
from runnel.chat.model_ports import Candidates, Model
from runnel.chat.prompt import Prompt
from runnel.chat.sessions.values import SessionSettings
from runnel.chat.terms import Terms
from runnel.errors import Code, RunnelError


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a question only once its session is: how that is set, and the branch that it
    ends, as Begun says; `generation_id` is the id of its answer.
    """

    generation_id: str
    settings: SessionSettings
    turns: Sequence[Turn]
    beyond: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who may answer what was found. `prompt` fits it to a model's terms; None: something has to
    be read for that.
    """

    candidates: Candidates
    prompt: Callable[[Terms], Prompt] | None = None

    @property
    def model(self) -> Model:
        """Whoever is asked first."""
        return self.candidates.models[0]

    @property
    def fitted(self) -> Fitted | None:
        """What that one is given, if it is known."""
        return None if self.prompt is None else self.prompt(self.model.terms).fitted


#: Raises RunnelError if nobody may answer what was found.
Choose = Callable[[Found], Chosen]


def able(candidates: Candidates, ask: Ask, *, images: bool = False) -> Candidates:
    """Those who take all that is asked. The alias itself has to, if it can be asked at all.

    `images`: there are some among the attachments.

    Raises RunnelError `invalid_request`, naming what it does not take.
    """
    asked = set(ask.params.given())
    if not ask.params.json_mode:
        asked.discard("json_mode")  # not to have it, every provider can do
    if images or any(turn.images for turn in ask.turns):
        asked.add("images")
    able_ones = [model for model in candidates.models if asked <= model.terms.takes]
    first = candidates.models[0]
    if candidates.absent is None and first not in able_ones:
        where = "attachments" if images else "messages"
        raise _not_taken(first, sorted(asked - first.terms.takes), where)
    if not able_ones:
        assert candidates.absent is not None
        raise candidates.absent
    return candidates if able_ones == candidates.models else replace(candidates, models=able_ones)


def _not_taken(model: Model, refused: Sequence[str], where: str) -> RunnelError:
    """`where` is the field that has pictures, if any has."""
    names = " and ".join(name if name == "images" else f"`{name}`" for name in refused)
    return RunnelError(
        Code.INVALID_REQUEST,
        f"{model.alias} ({model.provider}) does not take {names}.",
        field=where if refused == ["images"] else f"params.{refused[0]}",
    )
