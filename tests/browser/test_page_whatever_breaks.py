"""Whatever breaks around the page, the text on its screen is the text that is stored."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from chromium import Chromium
from front import Front
from talking_page import at_the_page, session_of, shown_branch, stored_branch

from cutting import Cutting
from processes import house_of, starting
from provider import Answer, Provider
from standing import Standing
from waiting import until

TOKENS: Final = 32_000
#: The longest that the page may not answer who uses it, in milliseconds.
LONGEST_TASK: Final = 200
#: A machine that is busy with other tests holds up a task that is short by itself.
TRIES: Final = 3
WATCH: Final = """
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) window.tasks.push(duration);
  }).observe({ type: "longtask", buffered: true });
"""


def test_a_token_that_runs_out_in_mid_answer(
    chromium: Chromium, stand: Standing, proxy: Cutting, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: Any = stand.server.server.parts

    def later() -> datetime:
        return datetime.now(UTC) + timedelta(hours=2)

    stand.provider.hold()
    with at_the_page(chromium, stand, proxy.url) as front:
        front.say(stand.prompt(Answer(("Before", " and", " after."), gate_after=1)))
        front.until_shown("running", text="Before")
        with monkeypatch.context() as patched:
            patched.setattr(parts.tickets._tokens, "_clock", later)
            patched.setattr(parts.accounts._logins, "_clock", later)
            proxy.cut_now()
            stand.provider.release()
            front.until_shown("completed", text="Before and after.")
            assert len(proxy.asked("/refresh", "POST")) == 1
            # Back in the present a token of the future is none, and the page, which looks for its
            # sessions once more, would be signed out.
            assert front.tab.do(front.find("composer").is_visible())
            shown, session = shown_branch(front), session_of(front)
        assert shown == stored_branch(stand, session)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_restarts_in_mid_answer(
    chromium: Chromium, tmp_path: Path, how: signal.Signals
) -> None:
    with Provider() as provider, starting(house_of(provider, tmp_path)) as start:
        provider.hold()
        provider.answer("test", Answer(("Half", " an answer"), gate_after=1))
        fixed = {"ADMIN_PASSWORD": "a password of the admin's", "SHUTDOWN_GRACE_SECONDS": "0"}
        first = start(**fixed)
        port = first.url.rpartition(":")[2]
        with chromium.tab(f"{first.url}/") as tab:
            front = Front(tab)
            front.sign_in("admin", fixed["ADMIN_PASSWORD"])
            front.say("Well?")
            front.until_shown("running", text="Half")
            (found,) = first.client.get("/api/generations?status=running").json()["generations"]
            answer = found["generation_id"]
            until(lambda: first.generation(answer)["text"] == "Half")  # it is stored
            os.kill(first.process.pid, how)
            first.process.wait()
            front.until(lambda: front.connection == "offline")
            second = start(PORT=port, **fixed)
            front.until(lambda: front.messages()[-1]["status"] in ("failed", "interrupted"))
            assert front.messages()[-1]["text"] == second.generation(answer)["text"] == "Half"
            front.until(lambda: front.connection == "live")
            provider.release()
            tab.do(front.find("regenerate").last.click())
            front.until_shown("completed", text="Half an answer")


def test_an_answer_of_32000_tokens_never_holds_up_who_reads_it(
    chromium: Chromium, stand: Standing
) -> None:
    pieces = [
        f"word{number}{'.' + chr(10) * 2 if number % 100 == 99 else ' '}"
        for number in range(TOKENS)
    ]
    stand.provider.release()
    longest: list[float] = []
    for _ in range(TRIES):
        with at_the_page(chromium, stand) as front:
            front.tab.run(WATCH)
            front.say(stand.prompt(Answer(pieces)))
            front.until_shown("completed")
            streamed = max(front.run("window.tasks"), default=0)
            assert front.messages()[-1]["text"].split() == "".join(pieces).split()
            front.tab.do(front.tab.page.add_init_script(WATCH))
            front.tab.do(front.tab.page.goto(f"{stand.server.url}/?session={session_of(front)}"))
            front.until_shown("completed")
            longest.append(max([streamed, *front.run("window.tasks")]))
            assert front.messages()[-1]["text"].split() == "".join(pieces).split()
        if longest[-1] < LONGEST_TASK:
            break
    assert longest[-1] < LONGEST_TASK, longest
