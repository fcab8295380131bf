"""What the tests of the talk share: a person at the page, and what stands in the database."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from chromium import Chromium, Tab
from front import Front

from standing import Standing


@contextmanager
def at_the_page(
    chromium: Chromium, stand: Standing, url: str | None = None, **options: Any
) -> Generator[Front]:
    """The page in a profile of its own, signed in, with an empty new session."""
    with chromium.tab(f"{url or stand.server.url}/", **options) as tab:
        front = Front(tab)
        front.sign_in(stand.user.username, stand.user.password)
        yield front


def beside(chromium: Chromium, front: Front) -> Front:
    """The same address in another tab of the same person; there once its composer is."""
    page = front.tab.do(front.tab.page.context.new_page())
    other = Front(Tab(chromium, page))
    other.tab.do(page.goto(front.tab.page.url))
    other.tab.do(other.find("composer").wait_for())
    return other


def stored_branch(stand: Standing, session_id: str) -> list[tuple[str, str, str]]:
    """Role, status and text of what the API gives of a session's active branch."""
    response = stand.client.get(f"/api/chat/sessions/{session_id}/messages?limit=500")
    assert response.status_code == 200, response.text
    return [(each["role"], each["status"], each["content"]) for each in response.json()["messages"]]


def shown_branch(front: Front) -> list[tuple[str, str, str]]:
    """The same as the page shows it."""
    return [(each["role"], each["status"], each["text"]) for each in front.messages()]


def session_of(front: Front) -> str:
    """The id of the session that is open, as its address says it."""
    front.until(lambda: "session=" in front.tab.page.url)
    return front.tab.page.url.partition("session=")[2].partition("&")[0]
