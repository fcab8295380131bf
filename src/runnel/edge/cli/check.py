"""`runnel check`: the validation before the start, alone."""

import asyncio

import typer

from runnel.errors import StartupError


def check() -> None:
    """Ask every provider whether it would answer, as serve does.

    Reads models.json, looks for the keys, and asks all providers at once,
    whatever STARTUP_CHECK says. Each alias has a line: on standard output if
    it can be asked, on standard error if not.

    Exit codes: 0 if all can be asked, else 2.
    """
    asyncio.run(_check())


async def _check() -> None:
    from runnel.bootstrap.models import (  # noqa: PLC0415 - completion stays quick
        absent_file,
        open_models,
    )
    from runnel.edge.cli.quiet import set_up_quietly  # noqa: PLC0415 - same

    settings = set_up_quietly()
    if absent := absent_file(settings):
        typer.echo(f"MODELS_FILE: {absent} is not there", err=True)
    async with open_models(settings) as catalog:
        await catalog.check()
        for listed in catalog.listed():
            if listed.available:
                typer.echo(f"{listed.alias}: ok")
        if faults := catalog.faults():
            raise StartupError("\n".join(faults))
