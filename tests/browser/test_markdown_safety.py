"""Whatever a model says, nothing of it runs and nothing is fetched."""

from typing import Final

from chromium import Chromium
from shown_answer import shown

from standing import Standing
from xss_corpus import XSS_CORPUS

#: Whole, and character by character, each beginning rendered; all is left in the page.
_SHOW: Final = """
async texts => {
  for (const text of texts) {
    begin().set(text);
    answer.end();
    await answer.settled;
    begin();
    for (const piece of text) { answer.append(piece); answer.work(Infinity); }
    answer.end();
    await answer.settled;
  }
}
"""
#: Every kind of element, attribute and address there is.
_FOUND: Final = """
() => {
  const found = { tags: new Set(), attributes: new Set(), schemes: new Set(), classes: new Set() };
  for (const element of document.body.querySelectorAll(".markdown *")) {
    if (element.closest(".copy")) continue;
    found.tags.add(element.localName);
    for (const { name } of element.attributes) found.attributes.add(name);
    for (const name of element.classList) found.classes.add(name);
    if (element.href) found.schemes.add(new URL(element.href).protocol);
  }
  return Object.fromEntries(Object.entries(found).map(([name, set]) => [name, [...set]]));
}
"""
_TAGS: Final = (
    *("a", "p", "em", "strong", "del", "code", "br", "h3", "h4", "h5", "h6", "ul", "ol", "li"),
    *("blockquote", "hr", "div", "pre", "span", "table", "thead", "tbody", "tr", "th", "td"),
)
_ATTRIBUTES: Final = (
    *("dir", "class", "start", "role", "tabindex", "aria-label", "href", "target", "rel", "title"),
    *("data-host", "data-language", "data-align"),
)
_CLASSES: Final = {"part", "task", "loose", "more", "code", "tables", "table"}


def test_nothing_runs_and_nothing_is_fetched(chromium: Chromium, stand: Standing) -> None:
    assert len(XSS_CORPUS) >= 80
    with shown(chromium, stand.server.url) as page:
        dialogs: list[str] = []

        async def listen() -> None:
            page.tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))

        page.tab.do(listen())
        own, said = len(page.tab.requested), len(page.tab.said)
        for at in range(0, len(XSS_CORPUS), 20):
            page.run(_SHOW, XSS_CORPUS[at : at + 20])
        # Two frames: what was to be loaded, or to begin by itself, has begun.
        page.run("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 200)))")
        assert page.run("window.pwned") is None
        assert (dialogs, page.tab.requested[own:], page.run("violations")) == ([], [], [])
        assert page.tab.said[said:] == []
        found = page.run(_FOUND)
        assert set(found["tags"]) <= set(_TAGS)
        assert set(found["attributes"]) <= set(_ATTRIBUTES)
        assert set(found["classes"]) <= _CLASSES
        assert set(found["schemes"]) <= {"http:", "https:", "mailto:"}
        assert page.run("document.querySelectorAll('.markdown').length") == 2 * len(XSS_CORPUS)


def test_html_is_shown_as_it_was_written(chromium: Chromium, stand: Standing) -> None:
    with shown(chromium, stand.server.url) as page:
        for text in XSS_CORPUS:
            if text.startswith("<s") and "\n" not in text and "&" not in text:
                assert page.whole(text)["text"] == text
