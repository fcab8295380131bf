"""Runnel's own page as a person uses it: found by what its elements are called from outside."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from chromium import WAIT_SECONDS, Tab
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Locator

#: What tests read of a message that is shown.
_SHOWN: Final = """
elements => elements.map(e => ({
  role: e.dataset.role, status: e.dataset.status, text: e.textContent }))
"""


class Front:
    """The page in one tab. What it does it waits for."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    def find(self, name: str) -> Locator:
        """By `data-testid`."""
        return self.tab.page.get_by_test_id(name)

    def sign_in(self, username: str, password: str) -> None:
        """Returns once the composer is there."""
        self.tab.do(self.find("username").fill(username))
        self.tab.do(self.find("password").fill(password))
        self.tab.do(self.find("sign-in").click())
        self.tab.do(self.find("composer").wait_for())

    def say(self, text: str) -> None:
        """Writes a question and sends it; does not wait for anything."""
        self.tab.do(self.find("composer").fill(text))
        self.tab.do(self.find("send").click())

    def messages(self) -> list[dict[str, str]]:
        """Those shown, in order: `role`, `status`, `text`."""
        return self.tab.do(self.find("message").evaluate_all(_SHOWN))

    def until_shown(self, status: str, count: int = 2, text: str | None = None) -> dict[str, str]:
        """Waits until so many messages are shown whole, the last one with this status; that one."""

        def there() -> bool:
            with suppress(PlaywrightError):  # the page is being loaded
                shown = self.messages()
                return (
                    len(shown) == count
                    and shown[-1]["status"] == status
                    and all(each["status"] for each in shown)  # the newest are made first
                    and text in (None, shown[-1]["text"])
                )
            return False

        self.until(there)
        return self.messages()[-1]

    def until(self, holds: Callable[[], object]) -> None:
        """Blocks until it holds. (The page's policy lets no test wait inside the page.)"""
        end = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < end, f"shown: {self.messages()}"
            time.sleep(0.02)

    @property
    def connection(self) -> str | None:
        """What the page says of the connection: `live`, `reconnecting`, `offline`."""
        return self.tab.do(self.find("connection").get_attribute("data-state"))

    def run(self, script: str, argument: Any = None) -> Any:
        return self.tab.run(script, argument)
