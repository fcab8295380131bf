"""What a peer puts into the query of a WebSocket's handshake reaches no log."""

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from processes import COMMAND, Served, environment
from runnel.telemetry.logs import _redactor

CANARY = "a-canary-that-looks-like-no-token"


async def shake_hands(url: str) -> None:
    async with connect(f"{url}/ws?token={CANARY}&ticket={CANARY}") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    with pytest.raises(InvalidStatus):
        await connect(f"{url}/nowhere?token={CANARY}")


def test_no_query_is_logged_of_a_socket_accepted_or_refused(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "serve"],
        env=environment(tmp_path, LOG_LEVEL="debug"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            served = Served(process)
            served.client.close()
            asyncio.run(shake_hands(served.url.replace("http", "ws")))
            served.signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
        finally:
            process.kill()
    assert '"WebSocket /ws" [accepted]' in log
    assert '"WebSocket /nowhere" 403' in log
    assert CANARY not in log


@pytest.mark.parametrize("status", ["[accepted]", "403"])
@pytest.mark.parametrize("query", ["?token=a", '?a="&token=a', '?a" [accepted]?token=a', "?", ""])
def test_of_uvicorns_lines_the_query_goes_whole(query: str, status: str) -> None:
    line = f'127.0.0.1:1 - "WebSocket /ws{query}" {status}'
    event = {"logger": "uvicorn.error", "event": line}
    redacted = _redactor([])(None, "info", event)
    assert redacted == event | {"event": f'127.0.0.1:1 - "WebSocket /ws" {status}'}
