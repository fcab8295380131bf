"""What `runnel chat` was given, made a question; and the asking."""

import sys
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from runnel.bootstrap.models import open_models
from runnel.chat.attempt import Question
from runnel.chat.choosing import able
from runnel.chat.direct import Asking
from runnel.chat.entities import Ask, Params
from runnel.chat.model_ports import Catalog
from runnel.chat.param_fields import ParamFields
from runnel.chat.prompt import Prompt, fit
from runnel.chat.terms import Terms
from runnel.chat.text import clean
from runnel.configs import bounds_of
from runnel.edge.cli.showing import Screen, print_json
from runnel.errors import RunnelError, StartupError
from runnel.settings import Settings

_STANDARD_INPUT = "-"


async def ask(
    settings: Settings,
    model: str | None,
    text: str,
    system: str | None,
    params: Params,
    *,
    stream: bool,
) -> None:
    """Asks and prints. Raises StartupError for what cannot be asked, RunnelError for no answer."""
    async with open_models(settings) as catalog:
        question = _question(catalog, model, text, system, params)
        screen = Screen()
        screen.wait()
        try:
            show = screen.show if stream else None
            answer = await Asking(question, bounds_of(settings), show).answer()
        finally:
            screen.leave()
        if stream:
            screen.sum_up(answer)
        else:
            print_json(answer)


def _question(
    catalog: Catalog, model: str | None, text: str, system: str | None, params: Params
) -> Question:
    asked = Ask(user_id="", text=text, params=params)
    try:
        found = able(catalog.candidates(model), asked)
    except RunnelError as error:
        # Here whoever asks runs it too, and may know why.
        raise StartupError("\n".join(getattr(error, "__notes__", [error.message]))) from None

    def prompt(terms: Terms) -> Prompt:
        own = terms.system_prompt if system is None else clean(system)
        return fit(asked.turns, system_prompt=own, max_tokens=terms.context_tokens)

    return Question(text, found.models, prompt, params, found.restarts)


def text_of(user: str | None, prompt_file: Path | None) -> str:
    """What to ask, cleaned. Raises BadParameter where there is nothing, or not one of the two."""
    if (user is None) == (prompt_file is None):
        raise typer.BadParameter("give one of them", param_hint="--user / --prompt-file")
    option = "--user" if prompt_file is None else "--prompt-file"
    if user == _STANDARD_INPUT:
        prompt_file = Path(_STANDARD_INPUT)
    text = clean(user or "" if prompt_file is None else _read(prompt_file, option))
    if not text.strip():
        raise typer.BadParameter("there is nothing to ask", param_hint=option)
    return text


def _read(file: Path, option: str) -> str:
    """A file's text, without the line break at its end."""
    try:
        given = sys.stdin.buffer.read() if str(file) == _STANDARD_INPUT else file.read_bytes()
        return given.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = f"{file} is no text in UTF-8"
    raise typer.BadParameter(message, param_hint=option)


def params_of(**given: Any) -> Params:
    """Raises BadParameter, naming the option, for a value that no model can take."""
    try:
        return ParamFields.model_validate(given).to_params()
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        option = str(fault["loc"][0]).replace("_", "-")
        raise typer.BadParameter(fault["msg"], param_hint=f"--{option}") from None
