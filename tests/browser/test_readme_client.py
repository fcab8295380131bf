"""What README.md shows of /client.js runs as it stands: in a page of another origin, and in Node."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import httpx
from chromium import Tab
from pages import Pages

from cutting import Cutting
from provider import Answer
from standing import Standing

_README: Final = (Path(__file__).parents[2] / "README.md").read_text()
_SECTION: Final = _README[
    _README.index("### The JavaScript client") : _README.index("## Configuration")
]
_HERE: Final = "http://127.0.0.1:8000"


def snippet(number: int, url: str) -> str:
    code: str = re.findall(r"```js\n(.*?)```", _SECTION, flags=re.DOTALL)[number]
    assert _HERE in code
    return code.replace(_HERE, url)


def test_a_page_of_another_origin(stand: Standing, tab: Tab, pages: Pages, proxy: Cutting) -> None:
    stand.provider.release()
    stand._answers["Hello"] = Answer(["Good", " day"])
    tab.run("password => { window.prompt = () => password }", stand.user.password)
    add = """code => {
      const script = document.createElement("script");
      Object.assign(script, { type: "module", textContent: code });
      document.body.append(script);
    }"""
    tab.run(add, snippet(0, proxy.url))
    tab.until("document.querySelector('#answer').textContent === 'Good day'")
    assert tab.run("location.origin") == pages.origin
    # The login was kept: the next page needs no password.
    tab.do(tab.page.reload())
    tab.run("() => { window.prompt = () => { throw new Error('asked again') } }")
    tab.run(add, snippet(0, proxy.url))
    tab.until("document.querySelector('#answer').textContent === 'Good day'")
    assert len(proxy.asked("/login", "POST")) == 1


def run_in_node(
    node: str, folder: Path, stand: Standing, code: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program beside which the client was downloaded."""
    (folder / "runnel.mjs").write_text(httpx.get(f"{stand.server.url}/client.js").text)
    (folder / "program.mjs").write_text(code)
    return subprocess.run(
        [node, "program.mjs"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TOKEN": stand.user.token, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_program_in_node(stand: Standing, node: str, tmp_path: Path) -> None:
    stand.provider.release()
    stand._answers["count to 3"] = Answer(["1\n", "2\n", "3"])
    done = run_in_node(node, tmp_path, stand, snippet(1, stand.server.url))
    assert (done.stdout, done.stderr, done.returncode) == ("1\n2\n3", "", 0)
