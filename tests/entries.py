"""Aliases for tests that build a model by themselves."""

from runnel.chat.entities import Params
from runnel.chat.places import Places
from runnel.chat.terms import Terms
from runnel.models.langchain import Entry


def entry(
    alias: str,
    *,
    provider: str = "builtin",
    model: str = "demo",
    takes: frozenset[str] = frozenset(),
    defaults: Params = Params(),  # noqa: B008 - a frozen value
) -> Entry:
    terms = Terms(takes=takes, context_tokens=10_000)
    return Entry(alias, provider, model, terms, defaults, Places(None))
