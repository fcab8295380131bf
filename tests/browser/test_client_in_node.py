"""/client.js as a program of Node 20 uses it, downloaded from the server, over a network that breaks."""

import json
import random
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from answers_to_cut import MIDDLE, PIECES, TEXT

from cutting import Cutting
from provider import Answer
from standing import Standing
from waiting import until

_PROGRAM: Final = Path(__file__).parents[1] / "js" / "follow.mjs"
Program = Callable[[], Any]


@contextmanager
def running(node: str, file: Path, *flags: str, **told: Any) -> Generator[Program]:
    """Starts the program; calling what is given waits for its end, and gives what it says."""
    with subprocess.Popen(
        [node, *flags, str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        def ended() -> Any:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            return json.loads(out)

        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"file": str(file), **told}))
            process.stdin.close()
            process.stdin = None
            yield ended
        finally:
            process.kill()


@pytest.fixture
def file(stand: Standing, tmp_path: Path) -> Path:
    """The client, as it is downloaded."""
    there = tmp_path / "runnel.mjs"
    there.write_text(httpx.get(f"{stand.server.url}/client.js").text)
    return there


def options(stand: Standing, url: str, **more: Any) -> dict[str, Any]:
    return {"baseUrl": url, "token": stand.user.token, "backoff": 20, **more}


@pytest.mark.parametrize("transport", ["fetch", "poll"])
def test_an_answer_cut_anywhere_is_whole(
    stand: Standing, proxy: Cutting, node: str, file: Path, transport: str
) -> None:
    stand.provider.hold()
    chance = random.Random(transport)
    proxy.cut_after(None, *(chance.randint(1, 4000) for _ in range(8)))
    question = {"message": stand.prompt(Answer(PIECES, gate_after=MIDDLE))}
    with running(
        node,
        file,
        options=options(stand, proxy.url, transports=[transport]),
        question=question,
    ) as ended:
        until(lambda: proxy.cuts.value >= 1)
        stand.provider.release()
        told = ended()
    assert (told["text"], told["status"]) == (TEXT, "completed")
    positions = [tuple(map(int, position.split("-"))) for position in told["positions"]]
    assert positions == sorted(set(positions))
    assert stand.generation(told["id"])["text"] == TEXT


def test_where_there_is_no_event_source_there_is_polling(
    stand: Standing, node: str, file: Path
) -> None:
    stand.provider.release()
    question = {"message": stand.prompt(Answer(["Hello", " world"]))}
    there = options(stand, stand.server.url, transports=["eventsource", "poll"])
    with running(node, file, options=there, question=question) as ended:
        assert ended()["text"] == "Hello world"


def test_an_answer_is_stopped(stand: Standing, node: str, file: Path) -> None:
    question = {"message": stand.prompt(Answer(["Hello", " world"], gate_after=1))}
    there = options(stand, stand.server.url)
    with (
        stand.gate_closed(),
        running(node, file, options=there, question=question, abortAt="Hello") as ended,
    ):
        told = ended()
    assert told["types"] == ["start", "token", "aborted"]
    assert (told["text"], told["status"]) == ("Hello", "aborted")


def test_a_channel(stand: Standing, proxy: Cutting, node: str, file: Path) -> None:
    """With the class for WebSockets that Node 20 has behind a flag."""
    stand.provider.release()
    proxy.cut_after(3_000, 6_000)
    question = {"message": stand.prompt(Answer(PIECES))}
    with running(
        node,
        file,
        "--experimental-websocket",
        options=options(stand, proxy.url),
        question=question,
        channel="node",
    ) as ended:
        assert ended()["text"] == TEXT
    assert proxy.cuts.value == 2
