"""Answers shown as Markdown in Runnel's own page, without a talk around them."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from chromium import Chromium, Tab

from waiting import until

_MAKE: Final = """
async () => {
  const { AnswerText } = await import("/page/app/markdown/answer_text.js");
  document.body.replaceChildren();
  window.begin = () => {
    const element = document.createElement("div");
    document.body.append(element);
    window.element = element;
    return (window.answer = new AnswerText(element));
  };
  window.many = (count, make) => Array.from({ length: Math.ceil(count) }, (_, i) => make(i)).join("");
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    violations.push(`${event.violatedDirective} ${event.blockedURI}`));
}
"""


class Shown:
    """A page that shows one answer: `begin()`, then `answer` in `element`."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        # Nobody is signed in: with that the page has said all that it says by itself.
        until(lambda: any("401" in text for text in tab.said))
        tab.run(_MAKE)

    def run(self, script: str, argument: Any = None) -> Any:
        return self.tab.run(script, argument)

    def whole(self, text: str) -> dict[str, str]:
        """Shown at once: `html`, `text`, `inner`."""
        return self.run(
            "async text => { begin().set(text); answer.end(); await answer.settled;"
            " const shown = {html: element.innerHTML, text: element.textContent, inner: element.innerText};"
            " element.remove(); return shown; }",
            text,
        )

    def in_pieces(self, pieces: Sequence[str]) -> str:
        """Rendered after each of them: the HTML in the end."""
        return self.run(
            "async pieces => { begin(); for (const piece of pieces) {"
            " answer.append(piece); answer.work(Infinity); }"
            " answer.end(); await answer.settled;"
            " const html = element.innerHTML; element.remove(); return html; }",
            pieces,
        )


@contextmanager
def shown(chromium: Chromium, url: str, **options: Any) -> Generator[Shown]:
    with chromium.tab(f"{url}/", **options) as tab:
        yield Shown(tab)
