"""What Markdown becomes: as CommonMark and GitHub have it, within what the page allows."""

from collections.abc import Iterator
from typing import Final

import pytest
from chromium import Chromium
from shown_answer import Shown, shown

from standing import Standing

_ARABIC: Final = "مرحبا"
_LINK: Final = 'target="_blank" rel="noopener noreferrer nofollow" title="https://x.org/" href="https://x.org/"'
#: Without `dir="auto"`, and the links' attributes in the order of `_LINK`.
ELEMENTS: Final[dict[str, str]] = {
    "# a\n## *b* #\n": "<h3>a</h3>\n<h4><em>b</em></h4>\n",
    "a\nb\n===\nc\n---": "<h3>a\nb</h3>\n<h4>c</h4>",
    "**a** *b* ~~c~~ `d`": "<p><strong>a</strong> <em>b</em> <del>c</del> <code>d</code></p>",
    "a\n- b\n- c\n\nd": "<p>a</p>\n<ul><li><p>b</p></li>\n<li><p>c</p></li></ul>\n\n<p>d</p>",
    "3. a\n\n4. b": '<ol start="3" class="loose"><li><p>a</p></li>\n\n<li><p>b</p></li></ol>',
    "- a\n  1. b": "<ul><li><p>a</p>\n<ol><li><p>b</p></li></ol></li></ul>",
    "- a\n+ b": "<ul><li><p>a</p></li></ul>\n<ul><li><p>b</p></li></ul>",
    "- [x] a\n- [ ] b": '<ul><li class="task"><p>☑ a</p></li>\n<li class="task"><p>☐ b</p></li></ul>',
    "> a\nb\n>> c": "<blockquote><p>a\nb</p>\n<blockquote><p>c</p></blockquote></blockquote>",
    "a\n\n***\nb": "<p>a</p>\n\n<hr>\n<p>b</p>",
    "1986\\. \\*a\\* &lt;b&gt; <i>": "<p>1986. *a* &lt;b&gt; &lt;i&gt;</p>",
    "[a](https://x.org/) [b](ftp://x.org) [c](/d)": f"<p><a {_LINK}>a</a> [b](ftp://x.org) [c](/d)</p>",
    "[a][1] [b] [1]\n\n[1]: https://x.org/": f"<p><a {_LINK}>a</a> [b] <a {_LINK}>1</a></p>\n\n",
    "![a b](https://x.org/)": f'<p><a {_LINK} data-host="x.org">a b</a></p>',
}
_NORMAL: Final = """
async text => {
  begin().set(text); answer.end(); await answer.settled;
  for (const each of element.querySelectorAll("[dir=auto]")) each.removeAttribute("dir");
  for (const link of element.querySelectorAll("a")) {
    const host = link.dataset.host;
    for (const name of ["data-host", "href", "target", "rel", "title"]) {
      const value = link.getAttribute(name);
      link.removeAttribute(name);
      window.kept = { ...window.kept, [name]: value };
    }
    for (const name of ["target", "rel", "title", "href"]) link.setAttribute(name, kept[name]);
    if (host) link.dataset.host = host;
  }
  const html = element.firstChild.innerHTML + [...element.childNodes].slice(1).map(n => n.data).join("");
  element.remove();
  return html;
}
"""


@pytest.fixture(scope="module")
def page(chromium: Chromium, stand: Standing) -> Iterator[Shown]:
    with shown(chromium, stand.server.url, permissions=["clipboard-read"]) as there:
        yield there
        assert there.run("violations") == []


@pytest.mark.parametrize(
    "text",
    [
        f"- {_ARABIC}\n- b",
        f"1. {_ARABIC}\n   - {_ARABIC}",
        f"> {_ARABIC}\n>\n> b",
        f"> - {_ARABIC}",
        f"> {_ARABIC}\n> ===",
        f"| # | {_ARABIC} |\n|---|---|\n| c | d |",
        f"| {_ARABIC} | b |\n|---|---|\n| c | d |",
        "\n".join(f"- {_ARABIC} {number}" for number in range(150)),  # a list of two parts
    ],
    ids=[
        "list",
        "numbers",
        "quote",
        "list in a quote",
        "heading",
        "numbered rows",
        "table",
        "long list",
    ],
)
def test_what_is_written_from_the_right_stands_on_the_right(page: Shown, text: str) -> None:
    """Marks, bars and columns too. What is written from the left in it, from the left."""
    for right_to_left in (True, False):
        directions = page.run(
            "async text => { begin().set(text); answer.end(); await answer.settled;"
            " const direction = (each) => getComputedStyle(each).direction;"
            " const blocks = [...element.querySelectorAll('ul, ol, blockquote, table, li:first-child')];"
            " const found = blocks.map(direction); element.remove(); return [...new Set(found)]; }",
            text if right_to_left else text.replace(_ARABIC, "a"),
        )
        assert directions == ["rtl" if right_to_left else "ltr"]


@pytest.mark.parametrize("text", ELEMENTS)
def test_elements(page: Shown, text: str) -> None:
    assert page.run(_NORMAL, text) == ELEMENTS[text]


def test_code(page: Shown) -> None:
    page.run(
        "async text => { begin().set(text); answer.end(); await answer.settled; }",
        "~~~py x\na < b\n\n  c\n~~~\n" + "\n".join(["```", *("line" for _ in range(500)), "```"]),
    )
    codes = page.run("[...element.querySelectorAll('code')].map(code => code.textContent)")
    assert codes == ["a < b\n\n  c", "\n".join(["line"] * 500)]
    assert page.run("element.querySelector('.code').dataset.language") == "py"
    assert page.run("[...element.querySelectorAll('pre')].map(pre => pre.innerText)") == codes
    assert page.run("element.querySelector('pre').tabIndex") == 0
    page.run("element.remove()")


def test_code_is_copied_exactly(page: Shown) -> None:
    """With the clipboard's interface, and without it, as over plain http."""
    code = "if a:\n\n\tb = '  <&>'  \n" + "x\n" * 200 + "end"
    for take_away in (
        "",
        "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})",
    ):
        page.run(
            "async text => { begin().set(text); answer.end(); await answer.settled; }",
            f"```\n{code}\n```",
        )
        page.run(f"() => {{ {take_away} }}")
        button = page.tab.page.get_by_role("button", name="Copy code")
        page.tab.do(button.click())
        page.tab.until_run("document.querySelector('[role=status]')?.textContent === 'Copied'")
        assert page.tab.do(button.inner_text()) == ""
        page.run("() => { delete navigator.clipboard; element.remove(); }")
        assert page.run("navigator.clipboard.readText()") == code
        page.run("document.querySelector('[role=status]').textContent = ''")
        page.run("navigator.clipboard.writeText('').catch(() => {})")


def test_a_table(page: Shown) -> None:
    page.run(
        "async text => { begin().set(text); answer.end(); await answer.settled; }",
        "| a | b |\n|:-:|--:|\n| 1 | x\\|y |\n" + "| 2 | a<br>b |\n" * 100 + "\nafter",
    )
    assert page.run(
        "[...element.querySelectorAll('th')].slice(0, 2).map(c => c.dataset.align)"
    ) == ["center", "right"]
    assert page.run("[...element.querySelectorAll('td')].slice(0, 4).map(c => c.innerText)") == [
        "1",
        "x|y",
        "2",
        "a\nb",
    ]
    assert page.run("element.querySelectorAll('tbody tr').length") == 101
    assert page.run("element.querySelector('.table').tabIndex") == 0
    assert page.run("element.lastElementChild.lastElementChild.textContent") == "after"
    page.run("element.remove()")


def test_a_page_that_nobody_sees_shows_it_too(page: Shown) -> None:
    """No frame is drawn there."""
    page.run(
        "async () => { const frames = window.requestAnimationFrame;"
        " window.requestAnimationFrame = () => 0;"
        " begin(); for (let i = 0; i < 1000; i++) answer.append(`word ${i}\\n\\n`);"
        " answer.end(); await answer.settled; window.requestAnimationFrame = frames; }"
    )
    assert page.run("element.querySelectorAll('p').length") == 1000
    page.run("element.remove()")
