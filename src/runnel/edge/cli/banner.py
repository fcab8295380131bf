"""What the server tells whoever starts it; the one place that shows the first admin's password."""

import sys
from pathlib import Path

from runnel import __version__
from runnel.bootstrap.server import Server
from runnel.errors import RunnelError
from runnel.settings import Settings


async def banner(settings: Settings, server: Server, url: str) -> str:
    """Where it listens, who the admin is, and a curl line to paste."""
    token = await _token_to_show(settings, server)
    if token is None:
        token = f"$({command()} token {settings.admin_username})"
        lines = ["  Try it"]
    else:
        minutes = settings.access_token_minutes
        lines = [f"  Try it    (this token is good for {minutes} minutes)"]
    question = '{"prompt": "Hello! What can you do?"}'
    lines += [
        "",
        (
            f'curl -N {url}{settings.root_path}/api/generate -H "Authorization: Bearer {token}"'
            f" -H 'Content-Type: application/json' -d '{question}'"
        ),
    ]
    root = url + settings.root_path
    head = f"Runnel {__version__} listens on {url}\n  Page      {root}/\n  API docs  {root}/docs"
    return "\n".join([head, admin_lines(settings, server), *lines, ""])


def admin_lines(settings: Settings, server: Server) -> str:
    """The first admin's name, the password if one was made up, and how to set another."""
    admin = settings.admin_username
    made_up = server.new_admin_password
    shown = f", password {made_up} (shown this once)" if made_up else ""
    return (
        f"  Admin     {admin}{shown}\n"
        f"            set another password: {command()} users password {admin}"
    )


def command() -> str:
    """How this program is called from here."""
    program = Path(sys.argv[0]).absolute()
    if program.name == "__main__.py":
        return "python -m runnel"
    if program.is_relative_to(Path.cwd()):
        return str(program.relative_to(Path.cwd()))
    return program.name


async def _token_to_show(settings: Settings, server: Server) -> str | None:
    if settings.environment != "development":
        return None
    try:
        return await server.administration.issue_token(settings.admin_username)
    except RunnelError:  # another admin than the one that the settings name, or a disabled one
        return None
