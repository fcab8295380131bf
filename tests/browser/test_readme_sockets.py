"""What README.md shows of WebSockets runs as it stands: in Chromium, and as Python programs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from answers_to_cut import MIDDLE, PIECES, TEXT, UP_TO_MIDDLE
from chromium import Tab

from provider import Answer
from runnel.edge.sockets import restarting
from standing import Standing

_README: Final = (Path(__file__).parents[2] / "README.md").read_text()
_SECTION: Final = _README[_README.index("## WebSockets") : _README.index("## Connect a model")]
_FORM: Final = (
    "document.body.insertAdjacentHTML('beforeend', '<form><input></form><p id=error></p>')"
)
COMPLETIONS, SESSION, USER = range(3)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _SECTION, flags=re.DOTALL)


def begin(stand: Standing, tab: Tab, number: int) -> None:
    """Runs a snippet in a page that is as if it came from the server."""
    code = blocks("js")[number].replace("location.origin", f'"{stand.server.url}"')
    assert stand.server.url in code
    tab.run(f"token => {{ {_FORM}; {code}; window.connection = () => socket }}", stand.user.token)


def told_to(stand: Standing, question: str, answer: Answer) -> None:
    stand._answers[question] = answer


def send(tab: Tab, text: str) -> None:
    tab.until("connection().readyState === WebSocket.OPEN")
    tab.run(
        "text => { document.querySelector('input').value = text;"
        " document.querySelector('form').requestSubmit() }",
        text,
    )


def shows(tab: Tab, text: str) -> None:
    tab.until("text => document.querySelector('#answer').textContent === text", text)


def close_all(stand: Standing) -> None:
    """As a server does that is about to end."""

    async def close() -> None:
        for socket in tuple(stand.server.server.parts.sockets._open):
            restarting(socket)

    stand.server.call(close())


def test_there_are_three_of_each() -> None:
    assert len(blocks("js")) == len(blocks("python")) == 3


def test_a_page_asks_one_question(stand: Standing, tab: Tab) -> None:
    told_to(stand, "Hello", Answer(["Good", " day"]))
    begin(stand, tab, COMPLETIONS)
    shows(tab, "Good day")


def test_a_page_shows_all_chats(stand: Standing, tab: Tab) -> None:
    told_to(stand, "Hello", Answer(["Good", " day"]))
    begin(stand, tab, USER)
    shows(tab, "123: Hello\n123: Good day\n")


def test_a_page_goes_on_at_the_exact_token(stand: Standing, tab: Tab) -> None:
    stand.provider.hold()
    told_to(stand, "Tell me", Answer(PIECES, gate_after=MIDDLE))
    begin(stand, tab, SESSION)
    send(tab, "Tell me")
    shows(tab, UP_TO_MIDDLE)
    close_all(stand)
    stand.provider.release()
    shows(tab, TEXT)
    told_to(stand, "Hello", Answer(["Good", " day"]))
    send(tab, "Hello")
    shows(tab, f"{TEXT}Good day")


@pytest.mark.parametrize("number", [COMPLETIONS, SESSION, USER])
def test_a_program(stand: Standing, number: int) -> None:
    answers = {"count to 3": "1\n2\n3", "count to 4": "1\n2\n3\n4"}
    for question, answer in answers.items():
        told_to(stand, question, Answer([answer[:3], answer[3:]]))
    code = blocks("python")[number].replace(
        "ws://127.0.0.1:8000", stand.server.url.replace("http", "ws")
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TOKEN": stand.user.token},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    if number == USER:
        assert sorted(done.stdout.splitlines()) == sorted(
            f"{chat} {text!r}"
            for chat, question in ((1, "count to 3"), (2, "count to 4"))
            for text in (question, answers[question])
        )
    else:
        assert done.stdout == answers["count to 3"]
