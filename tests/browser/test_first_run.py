"""The first ten minutes: what `make run` prints is enough to sign in and have a question answered."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from chromium import Chromium
from front import Front

from processes import environment

ROOT: Final = Path(__file__).parents[2]
#: What the suite runs in is installed; `make` would look whether it is the newest.
MAKE: Final = ("make", "-C", str(ROOT), "--no-print-directory", "-o", ".venv/installed", "run")


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[str]:
    """All that is printed up to the curl line, by a server that is there until the test's end."""
    variables = environment(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/runnel.db")
    # In a process group of its own: make does not hand signals on.
    with subprocess.Popen(
        MAKE, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        try:
            while not lines or not lines[-1].startswith("curl"):
                lines.append(process.stdout.readline())
                assert lines[-1], "".join(lines)
            yield "".join(lines)
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_from_what_make_run_prints_to_a_streamed_answer(printed: str, chromium: Chromium) -> None:
    (page,) = re.findall(r"^ +Page +(http://\S+/)$", printed, re.MULTILINE)
    ((username, password),) = re.findall(r"^ +Admin +(\S+), password (\S+) ", printed, re.MULTILINE)
    with chromium.tab(page) as tab:
        shown = Front(tab)
        shown.sign_in(username, password)
        shown.say("count to 300")
        question = shown.until_shown("running")  # the answer grows while one looks
        assert shown.messages()[0] == {
            "role": "user",
            "status": "completed",
            "text": "count to 300",
        }
        assert question["role"] == "assistant"
        answer = shown.until_shown("completed")
        assert answer["text"] == "\n".join(str(number) for number in range(1, 301))
