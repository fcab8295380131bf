"""/docs and /redoc in a real Chromium: whole under their policies, and from nowhere else."""

import time
from typing import Final
from urllib.parse import urlsplit

import pytest
from chromium import WAIT_SECONDS, Chromium

from standing import Standing

#: What stands on a page that is whole: the first operation of Swagger UI, and Redoc's.
WHOLE: Final = {"/docs": ".opblock", "/redoc": "[data-section-id]"}
REFUSED: Final = "Content Security Policy"


@pytest.mark.parametrize("path", WHOLE)
def test_it_is_whole_and_nothing_is_refused_or_fetched_elsewhere(
    chromium: Chromium, stand: Standing, path: str
) -> None:
    with chromium.tab(f"{stand.server.url}{path}") as tab:
        tab.do(tab.page.locator(WHOLE[path]).first.wait_for())
        hosts = {urlsplit(url).netloc for url in tab.requested if url.startswith("http")}
        assert hosts == {urlsplit(stand.server.url).netloc}
        assert not [text for text in tab.said if REFUSED in text]


def test_an_operation_is_tried_out_in_the_docs(chromium: Chromium, stand: Standing) -> None:
    with chromium.tab(f"{stand.server.url}/docs") as tab:
        operation = tab.page.locator(".opblock", has_text="/healthz").first
        tab.do(operation.click())
        tab.do(operation.get_by_text("Execute", exact=True).click())
        answer = operation.locator(".live-responses-table .response-col_description")
        end = time.monotonic() + WAIT_SECONDS
        while '"ok"' not in "".join(tab.do(answer.all_text_contents())):
            assert time.monotonic() < end
            time.sleep(0.05)
