"""`runnel import`: brings an export back, for the same user or another."""

import asyncio
import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

if TYPE_CHECKING:
    from runnel.chat.sessions.importing import Imported

_STANDARD_INPUT = "-"


def import_(
    username: Annotated[str, typer.Argument(help="whose sessions they are to be")],
    file: Annotated[Path, typer.Argument(help="an export in json or jsonl; - is standard input")],
) -> None:
    """Import sessions from an export in json or jsonl.

    All is as it was, the ids too. Each session comes back whole or not at all;
    one that is there already is named and left out. At the first fault of the
    file it ends: the sessions before it are there.

    Exit codes: 0, 1 if a session was left out or the file is at fault, 2 for
    bad usage or configuration.
    """
    with _opened(file) as opened:
        done = asyncio.run(_import(username, opened))
    typer.echo(_said(done))
    if done.refused:
        raise typer.Exit(1)


async def _import(username: str, file: BinaryIO) -> "Imported":
    # Not before it is called: Tab has to be quick.
    from runnel.bootstrap.exports import open_importing  # noqa: PLC0415 - as said
    from runnel.chat.sessions.import_reading import read_export  # noqa: PLC0415 - same
    from runnel.edge.cli.quiet import set_up_quietly  # noqa: PLC0415 - same
    from runnel.errors import RunnelError  # noqa: PLC0415 - same

    async with open_importing(set_up_quietly(), username, _tell) as importing:
        try:
            return await importing.run(read_export(file))
        except RunnelError:
            _tell(f"{_said(importing.done)} Then:")
            raise


def _tell(line: str) -> None:
    typer.echo(f"runnel: {line}", err=True)


def _said(done: "Imported") -> str:
    return (
        f"Imported {_counted(done.sessions, 'session')}, {_counted(done.messages, 'message')}"
        f" and {_counted(done.attachments, 'attachment')}."
        + (f" Left out: {_counted(done.refused, 'session')}." if done.refused else "")
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@contextlib.contextmanager
def _opened(file: Path) -> Generator[BinaryIO]:
    if str(file) == _STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise typer.BadParameter(
            f"{file} cannot be read: {error.strerror}", param_hint="FILE"
        ) from None
    with opened:
        yield opened
