"""`runnel chat`: one question to a model, without server or database."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from runnel.edge.cli.aliases import aliases

_PARAMS = "How the model is to answer"


def chat(
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ALIAS",
            help="whom to ask, as `runnel models` lists them; else the default",
            autocompletion=aliases,
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="what to ask; - reads it from standard input"),
    ] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a file with what to ask; - is standard input"),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="the system prompt, in place of the alias' own"),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="print the text as it comes, in place of JSON")
    ] = False,
    temperature: Annotated[
        float | None, typer.Option(help="from 0 to 2", rich_help_panel=_PARAMS)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="above 0, up to 1", rich_help_panel=_PARAMS)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="how long it may become", rich_help_panel=_PARAMS)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="the same seed, the same choices", rich_help_panel=_PARAMS)
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="where to end; may be given again", rich_help_panel=_PARAMS
        ),
    ] = None,
    json_mode: Annotated[
        bool, typer.Option("--json-mode", help="JSON and nothing else", rich_help_panel=_PARAMS)
    ] = False,
) -> None:
    """Ask a model directly, without server or database.

    Prints JSON: the text, who gave it, and what it took; with --stream the
    text itself, as it comes. A model that does not begin to answer is passed
    over for its fallbacks; one that breaks off is, with mid_stream, only where
    nothing is printed yet.

    Exit codes: 0, 1 if no model answered, 2 for bad usage or configuration.
    """
    # Not before it is called: Tab has to be quick.
    from runnel.edge.cli.asking import ask, params_of, text_of  # noqa: PLC0415 - as said
    from runnel.edge.cli.quiet import set_up_quietly  # noqa: PLC0415 - same

    text = text_of(user, prompt_file)
    params = params_of(
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        stop=stop or None,
        json_mode=json_mode or None,
    )
    asyncio.run(ask(set_up_quietly(), model, text, system, params, stream=stream))
