"""The client as a page uses it: `/client.js`, imported in a real Chromium, over a network that breaks."""

from typing import Any, Final

from chromium import Tab

#: What the page does by itself, which has the same storage: it would use what a test has put there.
APP: Final = "**/page/app/main.js"

#: Makes `client` of the page's own server, and a way to follow what it answers.
_MAKE: Final = """
async ({options, storage, base}) => {
  window.library = await import(`${base ?? ""}/client.js`);
  window.client = new library.RunnelClient({
    baseUrl: base ?? location.origin, backoff: 20, ...options,
    storage: storage ? localStorage : undefined,
  });
  window.states = [];
  client.addEventListener("state", ({detail}) => states.push(detail));
  window.read = (answer) => {
    const seen = {answer, events: [], statuses: [], fault: null, over: false};
    answer.addEventListener("status", ({detail}) => seen.statuses.push(detail));
    (async () => { for await (const event of answer) seen.events.push(event); })()
      .catch((error) => { seen.fault = {name: error.name, code: error.code}; })
      .finally(() => { seen.over = true; });
    return seen;
  };
  // At once: what waited in the storage may have its answer a moment later.
  window.kept = client.queue.map(read);
}
"""


def make(tab: Tab, base: str | None = None, *, storage: bool = False, **options: Any) -> None:
    """Makes `client` in the page; `read(answer)` there keeps what an answer tells. `kept` are those
    that waited in its storage.
    """
    tab.run(_MAKE, {"options": options, "storage": storage, "base": base})


def ask(tab: Tab, name: str, message: str, **question: Any) -> None:
    """Asks; what is told of the answer is kept by that name."""
    tab.run(
        "([name, question]) => { window[name] = read(client.ask(question)) }",
        [name, {"message": message} | question],
    )


def over(tab: Tab, name: str) -> Any:
    """Waits until an answer is over. Its text, its events, its statuses, and its fault."""
    tab.until_run(f"{name}.over")
    return tab.run(
        f"({{ text: {name}.answer.text, status: {name}.answer.status, fault: {name}.fault,"
        f" generation: {name}.answer.generationId, position: {name}.answer.position,"
        f" events: {name}.events, statuses: {name}.statuses }})"
    )


def assert_once_and_in_order(told: Any) -> None:
    """No position was told twice, none before another, and the texts make up the whole."""
    positions = [tuple(map(int, event["position"].split("-"))) for event in told["events"]]
    assert positions == sorted(set(positions))
    text = ""
    for event in told["events"]:
        if event["type"] == "token":
            text += event["text"]
        elif event["type"] == "reset":
            text = event["text"]
    assert text == told["text"]
