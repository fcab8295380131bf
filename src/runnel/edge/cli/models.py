"""`runnel models`: the aliases, as a table or as JSON."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from runnel.chat.model_ports import ListedModel

_HEADINGS = ("ALIAS", "PROVIDER", "MODEL", "DEFAULT", "AVAILABLE")


@dataclass(frozen=True, slots=True)
class _Listing:
    """`reasons` says of aliases why they cannot be asked."""

    default: str | None
    models: "Sequence[ListedModel]"
    reasons: Mapping[str, str]


def models(
    as_json: Annotated[bool, typer.Option("--json", help="print what GET /models answers")] = False,  # noqa: FBT002 - typer's form of a switch
    check: Annotated[bool, typer.Option("--check", help="ask the providers too")] = False,  # noqa: FBT002 - same
) -> None:
    """List the aliases that can be asked.

    Available is what has its key; with --check, what its provider would answer.
    """
    listing = asyncio.run(_listing(ask=check))
    if as_json:
        _print_json(listing)
    else:
        _print_table(listing)


async def _listing(*, ask: bool) -> _Listing:
    from runnel.bootstrap.models import (  # noqa: PLC0415 - completion stays quick
        open_aliases,
        open_models,
    )
    from runnel.edge.cli.quiet import set_up_quietly  # noqa: PLC0415 - same

    settings = set_up_quietly()
    if not ask:
        async with open_aliases(settings) as aliases:
            return _Listing(aliases.default, list(aliases.listed.values()), aliases.missing)
    async with open_models(settings) as catalog:
        await catalog.check()
        listed = catalog.listed()
        reasons = {model.alias: catalog.why_not(model.alias) for model in listed}
        known = {alias: reason for alias, reason in reasons.items() if reason is not None}
        return _Listing(catalog.default, listed, known)


def _print_json(listing: _Listing) -> None:
    import orjson  # noqa: PLC0415 - as above

    shown: list[dict[str, Any]] = []
    for model in listing.models:
        reason = listing.reasons.get(model.alias)
        shown.append(
            {
                "alias": model.alias,
                "provider": model.provider,
                "model": model.model,
                "available": model.available,
                **({} if reason is None else {"reason": reason}),
            }
        )
    body = {"default": listing.default, "models": shown}
    typer.echo(orjson.dumps(body, option=orjson.OPT_INDENT_2))


def _print_table(listing: _Listing) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above

    console = Console()
    rows = [
        (
            model.alias,
            model.provider,
            model.model,
            "*" if model.alias == listing.default else "",
            "yes" if model.available else f"no: {listing.reasons.get(model.alias, '')}",
        )
        for model in listing.models
    ]
    if console.is_terminal:
        _print_rich(console, rows)
    else:
        typer.echo("\n".join(_aligned([_HEADINGS, *rows])))


def _print_rich(console: Any, rows: Iterable[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(*(heading.capitalize() for heading in _HEADINGS), box=SIMPLE_HEAD)
    for row in rows:
        *words, available = row
        # As texts: a name may hold what rich takes for markup.
        style = "green" if available == "yes" else "red"
        table.add_row(*map(Text, words), Text(available, style))
    console.print(table)


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
