"""`make screenshots`: the main views of the page, as the README shows them.

A real server with a stand-in provider, seen by a real Chromium; what is said there is made up.
"""

import os
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from chromium import Chromium, Tab
from front import Front

from provider import Answer, Provider
from serving import LiveServer, Signed, settings_for

FOLDER: Final = Path(__file__).parents[2] / os.environ.get("RUNNEL_SCREENSHOTS", "docs/screenshots")
DESK: Final = {"viewport": {"width": 1280, "height": 800}}
PHONE: Final = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}

QUESTION: Final = "How do I read a stream of server-sent events in Python?"
ANSWER: Final = """\
With **httpx** the body of an answer can be read line by line, while it is being made:

```python
import httpx

headers = {"Authorization": f"Bearer {token}"}
body = {"prompt": "Hello"}

with httpx.stream("POST", url, headers=headers, json=body) as response:
    for line in response.iter_lines():
        if line.startswith("data: "):
            print(line.removeprefix("data: "), end="", flush=True)
```

A few things to keep in mind:

1. A frame may have several `data:` lines; they are joined by line breaks.
2. Remember the last `id:`. With `Last-Event-ID` you go on exactly behind it.
3. `[DONE]` is the end; a connection that closes without it means *attach again*.

| field | what it is |
|---|---|
| `data` | the text |
| `event` | what kind of frame it is |
| `id` | where it stands |
"""
OTHERS: Final = {
    "Ideas for a week in the Serra da Estrela": "Start in Manteigas, and walk up the Zêzere valley.",
    "Why is the sky blue?": "Shorter waves of light are scattered more by the air.",
    "Uma receita de pão de queijo": "Polvilho azedo, queijo meia cura, leite, ovos e um fio de óleo.",
    "Explain moving windows to a colleague": "A fixed window lets twice as many through at its edge.",
    "A limerick about a patient proxy": "There once was a proxy in line …",
}
MODELS: Final = {"chat/llama-small": "groq", "chat/qwen-small": "fireworks_ai"}


def words(text: str) -> list[str]:
    return [f"{word} " for word in text.split(" ")]


class House:
    """A server where people have talked for a while."""

    def __init__(self, server: LiveServer, provider: Provider) -> None:
        self.server, self.provider = server, provider
        self.url = server.url
        self.user = server.user("ines", "admin")
        for name in ("tomas", "beatriz", "joao"):
            self.talk(server.user(name), {QUESTION: ANSWER})
        self.talk(self.user, OTHERS)

    def talk(self, user: Signed, asked: dict[str, str]) -> None:
        with httpx.Client(base_url=self.url, headers=user.headers, timeout=30) as client:
            for question, answer in asked.items():
                self.provider.answer("model", Answer(words(answer), usage=(24, len(answer) // 4)))
                assert client.post("/chat", json={"message": question}).status_code == 200


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("shown")
    with Provider() as provider:
        aliases: dict[str, Any] = {
            alias: {
                "provider": "openai",
                "model": "model",
                "base_url": provider.url,
                "price": {"input": 0.05, "output": 0.08},
            }
            for alias in MODELS
        }
        models = {"default": "chat/llama-small", "aliases": aliases}
        (folder / "models.json").write_text(dumps(models))
        with LiveServer(settings_for(folder)) as server:
            yield House(server, provider)


def keep(tab: Tab, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    tab.do(tab.page.evaluate("document.fonts.ready"))
    tab.do(tab.page.screenshot(path=FOLDER / f"{name}.png", animations="disabled"))


def signed_in(house: House, tab: Tab) -> Front:
    front = Front(tab)
    front.sign_in(house.user.username, house.user.password)
    return front


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_talk(house: House, chromium: Chromium, scheme: str) -> None:
    with chromium.tab(f"{house.url}/", color_scheme=scheme, **DESK) as tab:
        front = signed_in(house, tab)
        house.provider.answer("model", Answer(words(ANSWER), usage=(24, 231)))
        front.say(QUESTION)
        front.until_shown("completed")
        keep(tab, f"talk-{scheme}")


def test_a_phone_while_an_answer_is_made(house: House, chromium: Chromium) -> None:
    with chromium.tab(f"{house.url}/", color_scheme="light", **PHONE) as tab:
        front = signed_in(house, tab)
        house.provider.hold()
        house.provider.answer("model", Answer(words(ANSWER), gate_after=40))
        front.say(QUESTION)
        house.provider.at_gate.wait_at_least(1)
        front.until(lambda: "response" in front.messages()[-1]["text"])
        keep(tab, "phone")
        house.provider.release()
        front.until_shown("completed")


def test_who_runs_the_server(house: House, chromium: Chromium) -> None:
    with chromium.tab(f"{house.url}/", color_scheme="light", **DESK) as tab:
        signed_in(house, tab)
        tab.do(tab.page.goto(f"{house.url}/?view=admin"))
        tab.do(tab.page.get_by_test_id("admin").wait_for())
        tab.do(tab.page.wait_for_load_state("networkidle"))
        keep(tab, "admin")
