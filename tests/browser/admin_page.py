"""The admin view as an admin uses it: found by what its elements are called from outside."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from chromium import WAIT_SECONDS, Chromium, Tab
from playwright.async_api import Locator, expect

from serving import LiveServer, Signed

#: The view alone, given what the page around it would give.
_SHOW: Final = """
async token => {
  const { RunnelClient } = await import("/client.js");
  const client = new RunnelClient({ baseUrl: new URL("/", location.href), token });
  const { Admin } = await import("/page/app/admin/admin.js");
  const main = document.createElement("main");
  const note = document.createElement("p");
  note.dataset.testid = "note";
  const tell = text => { note.textContent = text; };
  window.admin = new Admin({ client, me: await client.me(), tell });
  main.append(window.admin.element, note);
  document.body.replaceChildren(main);
  window.admin.show();
}
"""


class AdminPage:
    """In one tab. What it does it waits for."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    def find(self, name: str, **filters: Any) -> Locator:
        """By `data-testid`; `has_text` leaves those that hold it."""
        found = self.tab.page.get_by_test_id(name)
        return found.filter(**filters) if filters else found

    def user(self, name: str) -> Locator:
        """The row of an account."""
        return self.tab.page.locator(f'[data-testid="admin-user"][data-username="{name}"]')

    def open(self, view: str) -> None:
        self.tab.do(self.find(f"admin-tab-{view}").click())
        self.shown(self.find(f"admin-{view}"))

    def click(self, button: Locator | str) -> None:
        self.tab.do((self.find(button) if isinstance(button, str) else button).click())

    def act(self, name: str, action: str) -> None:
        """Presses one of the buttons of an account."""
        self.click(self.user(name).get_by_test_id(f"admin-{action}"))

    def text(self, name: str) -> str:
        return self.tab.do(self.find(name).text_content()) or ""

    def shown(self, what: Locator) -> None:
        """Waits until it is seen."""
        self.tab.do(expect(what).to_be_visible(timeout=WAIT_SECONDS * 1000))

    def gone(self, what: Locator) -> None:
        self.tab.do(expect(what).to_have_count(0, timeout=WAIT_SECONDS * 1000))

    def says(self, name: str, text: str) -> None:
        """Waits until that element holds the text."""
        self.tab.do(expect(self.find(name)).to_contain_text(text, timeout=WAIT_SECONDS * 1000))

    def until(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.02)


@contextmanager
def admin_page(
    chromium: Chromium, server: LiveServer, who: Signed, **options: Any
) -> Generator[AdminPage]:
    """`options` are those of the tab."""
    with chromium.tab(f"{server.url}/", **options) as tab:
        tab.run(_SHOW, who.token)
        yield AdminPage(tab)
