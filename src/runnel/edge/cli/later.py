"""Commands whose modules are imported when they are called: help and completion stay quick."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typing_extensions import override


class Later(NamedTuple):
    """Where a command is, as `module:name` below this package, and its line in the help."""

    place: str
    help: str


LATER: Final[Mapping[str, Later]] = {
    "serve": Later("serve:serve", "Start the server."),
    "models": Later("models:models", "List the aliases that can be asked."),
    "chat": Later("chat:chat", "Ask a model directly, without server or database."),
    "check": Later("check:check", "Ask every provider whether it would answer, as serve does."),
    "export": Later("exporting:export", "Export a user's sessions, with all branches."),
    "import": Later("importing:import_", "Import sessions from an export in json or jsonl."),
    "users": Later("users:app", "Add, list, disable accounts and set passwords."),
}


def add_later(app: typer.Typer) -> None:
    """Registers them, in their order."""
    for name, later in LATER.items():
        app.command(name, help=later.help)(_not_yet)


class LaterGroup(TyperGroup):
    """Puts the command itself where its line stood, once it is called or completed."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in LATER:
            command = loaded(name)
        return name, command, rest


def loaded(name: str) -> Any:
    """The command of that name, ready to be called. Any: typer hides the class."""
    module, _, attribute = LATER[name].place.partition(":")
    found = getattr(import_module(f"{__package__}.{module}"), attribute)
    holder = typer.Typer()
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return typer.main.get_group(holder).commands[name]


def _not_yet() -> None:
    raise AssertionError
