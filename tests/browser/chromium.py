"""A real Chromium for tests that are no coroutines.

Playwright runs in a thread of its own: its blocking interface would leave an event loop running
in the thread of the tests, and no coroutine of another test could be run there any more.
"""

import asyncio
import threading
import time
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar

from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from playwright.async_api import TimeoutError as PageTimeoutError

_T = TypeVar("_T")
START_SECONDS: Final = 45
CALL_SECONDS: Final = 30
WAIT_SECONDS: Final = 25
expect.set_options(timeout=WAIT_SECONDS * 1000)
_LAUNCH: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Tab:
    """A page that is shown in a profile of its own."""

    def __init__(self, chromium: "Chromium", page: Page) -> None:
        self._chromium = chromium
        self._page = page
        #: The addresses of all that was asked for, and all that stands in the console.
        self.requested: list[str] = []
        self.said: list[str] = []
        self.thrown: list[str] = []

    def listen(self) -> None:
        """From now on. To be called in Playwright's loop."""
        self._page.on("request", lambda request: self.requested.append(request.url))
        self._page.on("console", lambda message: self.said.append(message.text))
        self._page.on("pageerror", lambda error: self.thrown.append(str(error)))

    @property
    def page(self) -> Page:
        """Playwright's own; what it gives is awaited by `do`."""
        return self._page

    def do(self, work: Coroutine[Any, Any, _T], seconds: float = CALL_SECONDS) -> _T:
        """Runs a coroutine of Playwright's, as `tab.do(tab.page.reload())`."""
        return self._chromium.call(work, seconds)

    @contextmanager
    def beside(self, url: str) -> Generator["Tab"]:
        """Shows another tab of the same profile."""
        tab = self.do(self._chromium.listening_tab(self._page.context))
        self.do(tab.page.goto(url))
        yield tab
        self.do(tab.page.close())
        assert tab.thrown == []

    def run(self, script: str, argument: Any = None) -> Any:
        """What an expression, or a function called with the argument, comes to in the page."""
        return self._chromium.call(self._page.evaluate(script, argument))

    def until(self, script: str, argument: Any = None, seconds: float = WAIT_SECONDS) -> None:
        """Waits until an expression, or a function called with the argument, is true."""
        waiting = self._page.wait_for_function(
            script, arg=argument, timeout=seconds * 1000, polling=20
        )
        try:
            self._chromium.call(waiting, seconds + CALL_SECONDS)
        except PageTimeoutError as error:
            reader = str(self.run("JSON.stringify(window.reader ?? null)"))
            raise AssertionError(f"{script} is not true; the reader: …{reader[-1000:]}") from error

    def until_run(self, script: str, seconds: float = WAIT_SECONDS) -> None:
        """As `until`, where the page's policy lets nobody wait inside the page."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"{script} is not true; {self.said[-5:]}"
            time.sleep(0.02)


class Chromium:
    """Started on `with`; stopped, and its thread joined, at its end."""

    def __init__(self, executable: str) -> None:
        self._executable = executable
        self._started: Future[Browser] = Future()
        self._thread = threading.Thread(target=self._run, name="chromium", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._browser = self._started.result(START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(CALL_SECONDS)
        assert not self._thread.is_alive(), "Chromium did not stop"

    def call(self, work: Coroutine[Any, Any, _T], seconds: float = CALL_SECONDS) -> _T:
        """Runs a coroutine in Playwright's loop, from the test's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    @contextmanager
    def tab(self, url: str, **options: Any) -> Generator[Tab]:
        """Shows a page; what it throws fails the test. `options` are those of its profile; besides,
        no address that matches `without` is loaded.
        """
        without = options.pop("without", None)
        context = self.call(self._browser.new_context(**options))
        try:
            if without is not None:
                self.call(context.route(without, lambda route: route.abort()))
            tab = self.call(self.listening_tab(context))
            self.call(tab.page.goto(url))
            yield tab
        finally:
            self.call(context.close())
        assert tab.thrown == []

    async def listening_tab(self, context: BrowserContext) -> Tab:
        """A new one, with nothing in it yet."""
        tab = Tab(self, await context.new_page())
        tab.listen()
        return tab

    def _run(self) -> None:
        try:
            # Not the loop of the process's policy: the server under test may have chosen uvloop.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=self._executable, args=_LAUNCH
            )
            self._started.set_result(browser)
            await self._stopping.wait()
            await browser.close()
