"""Makes producers: of questions that are new, and of answers that are taken over."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Protocol

from runnel.chat.attachments.contents import NOTHING, Contents, contents_of
from runnel.chat.attachments.ports import AttachmentFiles
from runnel.chat.attempt import Bounds, Question
from runnel.chat.choosing import Chosen, Found, able
from runnel.chat.entities import Ask, Generation, Params, Turn
from runnel.chat.inherited import Inherited
from runnel.chat.model_ports import Candidates, Catalog
from runnel.chat.ports import Observer, Store, StreamLog
from runnel.chat.producer import Producer
from runnel.chat.prompt import Prompt, fit, instructions, whole
from runnel.chat.sessions.values import SessionSettings
from runnel.chat.terms import Terms
from runnel.chat.text import BYTES_PER_TOKEN
from runnel.events import Usage


class Asked(Protocol):
    """A question with the branch that it ends: as chat.ports.Begun says."""

    @property
    def turns(self) -> Sequence[Turn]: ...
    @property
    def settings(self) -> SessionSettings: ...
    @property
    def beyond(self) -> int: ...


class Making:
    """Knows who may answer a question, and what they are shown of it."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        files: AttachmentFiles,
        log: StreamLog,
        bounds: Bounds,
        observer: Observer,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._files = files
        self._log = log
        self._bounds = bounds
        self._observer = observer

    def check(self, ask: Ask) -> None:
        """Whether the model that a new question names may answer it, as far as that is known before
        its session is. Raises RunnelError, see Catalog and `able`.
        """
        if ask.model is not None:
            able(self._catalog.candidates(ask.model), ask)

    def choose(self, ask: Ask, found: Found) -> Chosen:
        """Who may answer a new question. Raises RunnelError likewise."""
        candidates = self._able(ask, found)
        if any(turn.attachments for turn in found.turns):
            return Chosen(candidates)
        return Chosen(candidates, _prompts(found, NOTHING, stateless=ask.stateless))

    def candidates(self, generation: Generation, asked: Asked, params: Params) -> Candidates:
        """Who may go on with an answer. Raises RunnelError likewise."""
        question = asked.turns[-1]
        again = Ask(generation.user_id, question.text, model=generation.model, params=params)
        return self._able(again, asked)

    def _able(self, ask: Ask, asked: Asked) -> Candidates:
        candidates = self._catalog.candidates(ask.model or asked.settings.model_preference)
        images = any(each.is_image for each in asked.turns[-1].attachments)
        return able(candidates, ask, images=images)

    def priced(self, alias: str, usage: Usage) -> Usage:
        """A usage of an alias with its cost, if that is known."""
        return self._catalog.priced(alias, usage)

    async def producer(
        self,
        generation: Generation,
        asked: Asked,
        candidates: Candidates,
        params: Params,
        *,
        prompt: Callable[[Terms], Prompt] | None = None,
        epoch: int = 0,
        stateless: bool = False,
        inherited: Inherited | None = None,
    ) -> Producer:
        """What is to make a generation's answer. `prompt` as of Chosen, `epoch` as of Begun."""
        if prompt is None:
            contents = await self._contents(asked.turns, candidates)
            prompt = _prompts(asked, contents, stateless=stateless)
        question = Question(
            asked.turns[-1].text, candidates.models, prompt, params, candidates.restarts
        )
        return Producer(
            generation,
            question,
            store=self._store,
            log=self._log,
            bounds=self._bounds,
            observer=self._observer,
            epoch=epoch,
            stateless=stateless,
            inherited=inherited,
        )

    async def _contents(self, turns: Sequence[Turn], candidates: Candidates) -> Contents:
        """What may be needed of the attachments, whoever of the candidates answers."""
        terms = [model.terms for model in candidates.models]
        most_tokens = max(each.context_tokens for each in terms)
        return await contents_of(
            self._files,
            turns,
            most_characters=most_tokens * BYTES_PER_TOKEN,
            images=any("images" in each.takes for each in terms),
        )


def _prompts(asked: Asked, contents: Contents, *, stateless: bool) -> Callable[[Terms], Prompt]:
    return cache(  # who is asked again is given the same
        partial(_prompt, asked, contents, stateless=stateless)
    )


def _prompt(asked: Asked, contents: Contents, terms: Terms, *, stateless: bool) -> Prompt:
    own = instructions(terms.system_prompt, asked.settings)
    if stateless:
        return whole(asked.turns, system_prompt=own)
    return fit(
        asked.turns,
        system_prompt=own,
        max_tokens=terms.context_tokens,
        contents=contents,
        images="images" in terms.takes,
        beyond=asked.beyond,
    )
