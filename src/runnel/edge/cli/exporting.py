"""`runnel export`: what a user has, to standard output or into a file, beside a running server too."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer


def export(
    *,
    username: Annotated[str, typer.Argument(help="whose sessions")],
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="one session, by its id or name; else all")
    ] = None,
    format_: Annotated[
        Literal["json", "jsonl", "markdown", "text"],
        typer.Option("--format", help="json and jsonl can be imported again"),
    ] = "json",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="where to, written whole or not at all; else standard output",
        ),
    ] = None,
) -> None:
    """Export a user's sessions, with all branches.

    Exit codes: 0, 1 if it failed, 2 for bad usage or configuration. What was
    written before a failure is not whole.
    """
    try:
        with _opened(output) as file:
            asyncio.run(_export(username, session, format_, file))
    except BrokenPipeError:
        # Whoever read has enough. Python would try to write the rest once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    if output is not None:
        typer.echo(f"Exported to {output}.", err=True)


async def _export(username: str, session: str | None, form: str, file: BinaryIO) -> None:
    # Not before it is called: Tab has to be quick.
    from runnel.bootstrap.exports import open_exporting  # noqa: PLC0415 - as said
    from runnel.chat.sessions.exporting import ExportFormat  # noqa: PLC0415 - same
    from runnel.chat.sessions.refs import session_ref  # noqa: PLC0415 - same
    from runnel.edge.cli.quiet import set_up_quietly  # noqa: PLC0415 - same
    from runnel.errors import RunnelError  # noqa: PLC0415 - same

    try:
        ref = session_ref(session, username)
    except RunnelError as error:
        raise typer.BadParameter(error.message, param_hint="--session") from None
    async with open_exporting(set_up_quietly(), username) as (exporting, user):
        found = await exporting.begin(user.id, ref, ExportFormat(form))
        async with contextlib.aclosing(found.chunks) as chunks:
            async for chunk in chunks:
                file.write(chunk)
        file.flush()


@contextlib.contextmanager
def _opened(output: Path | None) -> Generator[BinaryIO]:
    """Standard output, or a file for its owner alone that is there once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    part = output.with_name(f"{output.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise typer.BadParameter(
            f"{output} cannot be written: {error.strerror}", param_hint="--output"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
