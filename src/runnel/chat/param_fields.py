"""How params look in JSON, in a question and in models.json alike."""

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runnel.chat.entities import Params

_INT64: Final = 2**63
_MOST_STOPS: Final = 16


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


StopSequence = Annotated[str, Field(min_length=1, max_length=256)]
_Stops = Annotated[list[StopSequence], Field(max_length=_MOST_STOPS)]
# As a union of the two, its faults would be named by its branches, which no client knows.
StopSequences = Annotated[
    _Stops, BeforeValidator(_listed, json_schema_input_type=StopSequence | _Stops)
]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
MaxTokens = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=-_INT64, lt=_INT64)]


class ParamFields(BaseModel):
    """How the model is to answer; what is absent is left to others."""

    model_config = ConfigDict(extra="forbid")
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    seed: Seed | None = None
    stop: StopSequences | None = None
    json_mode: bool | None = None

    def to_params(self) -> Params:
        return Params(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            json_mode=self.json_mode,
        )
