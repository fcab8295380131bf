"""Texts that models write, and how long ones are made: for the tests of what shows Markdown."""

from typing import Final

#: Nothing in these is markup: they are shown as they are.
PLAIN: Final[tuple[str, ...]] = (
    "1\n2\n3",
    "a\n\nb",
    "Good day",
    "one\ntwo\nthree\n\nfour",
    "  indented\n   and more\n",
    "spaces at the end  \nof a line ",
    "\n\nstarts with empty lines",
    "ends with them\n\n\n",
    "many\n\n\n\n\nempty\n \n\t\nlines",
    "\ttab\n\n\tand another",
    "    code\n\n      by indent\n",
    "[DONE]\ndata: [DONE]\nid: 9-9\n: no comment",
    "<b>HTML</b> & such <br> <script>alert(1)</script>",
    "<div>\n<p>\n\n</div>",
    "snake_case_word and 2 * 3 * 4, a ~ b, 1 < 2 > 0, x[0][1], 5 > 4",
    "你好，世界。\n\n日本語の文章。",
    "👩‍💻 👍🏽 🇧🇷 e\u0301 \u2028 \u2029 \u0085 \ufeff",
    "مرحبا بالعالم\n\nשלום עולם",
    "wide " * 5000,
    "x" * 20_000,
    "👍" * 9000,
    "line\n" * 3000,
)

MARKED_UP: Final[tuple[str, ...]] = (
    "# One\n## Two ##\n###### Six\n####### seven\n#\n#none\n  ### Three ###  \n",
    "Setext\n===\n\nof two\nlines\n---\n\nnot one\n\n---\n- a\n---\n",
    "- a\n- b\n  - c\n    - d\n\n      words of d\n  - e\n- f\n",
    "1. one\n2. two\n   ```\n   code\n\n   more\n   ```\n3. three\n\n   a paragraph\n10) ten\n",
    "* a\n\n* b\n\n\n* c\n+ other\n- - nested at once\n-\n  empty\n-\n\n  no item's\n",
    "- [ ] open\n- [x] done\n- [X] *too*\n- [y] none\n",
    "text\n- list at once\nlazy\n> quote\nlazy too\n# heading\n2. no list in text\n1. a list\n",
    "> a\n> > b\n> c\n>\n> - d\n>   e\n\n> f\n>```\n>code\nafter\n",
    "```python\ndef f():\n\n    return 1\n\n```\nafter",
    "~~~\n```\n~~\n~~~~\nafter\n````md\n```js\nx\n```\n````\n",
    "```\nunclosed\n\n  code\n",
    "``` a`b\nno fence\n```\n   ```js x y\n     a\n   b\n  ```\n",
    "```\n```\n```\n\n\n```\n```\n" + "long line " * 2000 + "\nnext\n```\n",
    "    indented\n\n\n      code\nwords\n\ttab\n    lazy\n\n\tcode\n",
    "| a | b |\n|---|:-:|\n| 1 | `x\\|y` |\n| only\n| 1 | 2 | 3 |\nlazy row\n\nafter",
    "words\na | b\n-- | --\n1 | 2<br>3\n# ends it\na | b\n-- |\n",
    "**bold** *em* ***both*** ~~gone~~ `code` ``a ` b`` __x__ _y_ **open\n\n*a **b* c**",
    "hard  \nbreak\\\nand soft\n\\*no\\* &amp; &copy; &#65; &nosuch; \\&amp;",
    "[a](https://example.com) [b](http://x.y 'title') <https://z.w> https://auto.link/x?y=1. www.x.org a@b.org",
    """[ref][1] and [Two] and [three][] and [none][4]

[1]: https://one.example
[two]: <https://two.example> 'x'
[three]: https://three.example
[1]: https://second.example
""",
    "a note[^1] here\n\n[^1]: the note\n",
    "![a picture](https://example.com/x.png) ![](https://example.com/y.png) ![no](data:x)",
    "<div>\n*em* in <b>html</b>\n</div>\n\n<!-- a\n\ncomment -->",
    "***\n---\n___\n* * *\n-- -\n",
    "文字**太い**文字 `コード`\n\n- 项目\n- 第二\n\n# 标题\n",
    "עברית **מודגש** `x`\n\n1. אחת\n2. שתיים\n",
    ("**word** and `code` " * 700),
    "".join(f"{n}. item {n}\n\n   more of it\n\n" for n in range(1, 40)),
    "|a|b|\n|-|-|\n" + "".join(f"|{n}|*{n}*|\n" for n in range(150)),
    ">" * 60 + " deep\n" + "- " * 60 + "deep\n",
    "[DONE]\n\n# [DONE]\n\n- [DONE]\n",
)

#: Functions of the number of tokens (of a few characters, as models make them).
LONG: Final[dict[str, str]] = {
    "one block of code": "n => '```js\\n' + many(n / 8, i => `const value${i} = f(${i});\\n`)",
    "one line of code": "n => '```\\n' + many(n, i => `w${i % 99} `)",
    "one list": "n => many(n / 8, i => `- item **${i}** of a list with words\\n`)",
    "one nested list": "n => '- a\\n' + many(n / 8, i => `  - item ${i} of a list with words\\n`)",
    "one table": "n => '|a|b|c|\\n|-|-|-|\\n' + many(n / 12, i => `| row ${i} | \\`x\\` and | words of it |\\n`)",
    "one paragraph": "n => many(n, i => i % 7 ? 'word ' : `**w${i}** `)",
    "one quote": "n => many(n / 8, i => `> words ${i} of a quote *and* words\\n`)",
    "10,000 paragraphs": "n => many(n / 3.2, i => `short ${i}.\\n\\n`)",
    "all kinds": "n => many(n / 40, i => `## Part ${i}\\n\\nSome **words** and [link](https://x.org/${i}).\\n\\n1. one\\n"
    "2. two\\n\\n\\`\\`\\`py\\nprint(${i})\\n\\`\\`\\`\\n\\n| a | b |\\n|--|--|\\n| 1 | 2 |\\n\\n`)",
}
