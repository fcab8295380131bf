"""`runnel users`: accounts from the command line, beside a running server too."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from runnel.accounts.administration import Administration
from runnel.bootstrap.accounts import open_administration
from runnel.edge.cli.setup import set_up

app = typer.Typer(help="Add, list, disable accounts and set passwords.", no_args_is_help=True)
_T = TypeVar("_T")

Username = Annotated[str, typer.Argument(help="the account's name")]
Password = Annotated[
    str | None,
    typer.Option(help="the new password; without it a random one is made and printed"),
]


def _administer(work: Callable[[Administration], Awaitable[_T]]) -> _T:
    settings = set_up()

    async def run() -> _T:
        async with open_administration(settings) as accounts:
            return await work(accounts)

    return asyncio.run(run())


@app.command()
def add(
    username: Username,
    password: Password = None,
    admin: Annotated[bool, typer.Option("--admin", help="make it an admin")] = False,  # noqa: FBT002 - typer's form of a switch
) -> None:
    """Add an account."""
    role = "admin" if admin else "user"
    made = _administer(lambda accounts: accounts.add_user(username, password, role))
    typer.echo(f"Added {username} ({role})." + (f" Password: {made}" if made else ""))


@app.command("list")
def list_() -> None:
    """List the accounts."""
    for user in _administer(lambda accounts: accounts.list_users()):
        state = "disabled" if user.disabled_at else "active"
        typer.echo(f"{user.username}\t{user.role}\t{state}\t{user.created_at:%Y-%m-%d}")


@app.command()
def disable(username: Username) -> None:
    """Refuse an account from now on, and end what it has open."""
    _administer(lambda accounts: accounts.disable(username))
    typer.echo(f"Disabled {username}.")


@app.command()
def enable(username: Username) -> None:
    """Let a disabled account in again."""
    _administer(lambda accounts: accounts.enable(username))
    typer.echo(f"Enabled {username}.")


@app.command("password")
def password_(username: Username, password: Password = None) -> None:
    """Set an account's password; all its logins end."""
    made = _administer(lambda accounts: accounts.set_password(username, password))
    typer.echo(f"Changed {username}'s password." + (f" It is: {made}" if password is None else ""))
