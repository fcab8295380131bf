"""The commands, and how their faults become one line and an exit code."""

import asyncio
import sys
from typing import Annotated

import typer

from runnel.edge.cli.later import LaterGroup, add_later
from runnel.errors import RunnelError, StartupError

app = typer.Typer(
    name="runnel",
    cls=LaterGroup,
    help="The self-hosted chat server for language models whose answers never break.",
    epilog="Exit codes: 0, 1 failed, 2 bad usage or configuration."
    " Complete commands, options and aliases with Tab: runnel --install-completion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
add_later(app)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from runnel.bootstrap.database import migrate_database  # noqa: PLC0415 - help and completion stay quick
    from runnel.edge.cli.setup import set_up  # noqa: PLC0415 - same

    asyncio.run(migrate_database(set_up()))
    typer.echo("The database is up to date.")


@app.command()
def token(username: Annotated[str, typer.Argument(help="whose token")]) -> None:
    """Print a bearer token of a user."""
    from runnel.bootstrap.accounts import open_administration  # noqa: PLC0415 - as above
    from runnel.edge.cli.setup import set_up  # noqa: PLC0415 - same

    settings = set_up()

    async def issue() -> str:
        async with open_administration(settings) as accounts:
            return await accounts.issue_token(username)

    typer.echo(asyncio.run(issue()))


def main() -> None:
    """Exit codes: 0, 1 failed, 2 bad usage or configuration."""
    try:
        app()
    except StartupError as error:
        _die(str(error), 2)
    except RunnelError as error:
        _die(error.message, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _die(message: str, code: int) -> None:
    for line in message.splitlines():
        print(f"runnel: {line}", file=sys.stderr)  # noqa: T201 - this is a command line
    sys.exit(code)
