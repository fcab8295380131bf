"""What clients see when another model answers in place of the one they asked."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from provider import Answer, Provider
from reading import parsed, parsed_events, text_of
from serving import LiveServer
from wire import Serve

DOORS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "json": ("/chat", {}),
    "text": ("/api/generate", {"format": "text"}),
    "events": ("/api/generate", {"format": "events"}),
}
SECOND: Final = Answer(["from ", "the second"])


@dataclass(frozen=True)
class House:
    """A server whose `chat/first` has `chat/second` to stand in for it."""

    server: LiveServer
    provider: Provider
    client: httpx.Client

    def ask(self, door: str, **body: Any) -> httpx.Response:
        path, extra = DOORS[door]
        return self.client.post(path, json={"message": "?", "model": "chat/first"} | extra | body)

    def kept(self, response: httpx.Response) -> Any:
        return self.client.get(f"/api/generations/{response.headers['X-Generation-Id']}").json()


Opening = Callable[..., House]


@pytest.fixture
def house(serve: Serve, provider: Provider) -> Iterator[Opening]:
    """Opens a house; what is given is said of the alias `chat/first`."""
    with ExitStack() as stack:

        def open_(**first: Any) -> House:
            usual = {"provider": "openai", "base_url": provider.url}
            server = serve(
                models={
                    "aliases": {
                        "chat/first": usual
                        | {"model": "one", "fallbacks": ["chat/second"]}
                        | first,
                        "chat/second": usual | {"model": "two", "price": {"input": 1, "output": 2}},
                    }
                }
            )
            provider.answer("two", SECOND)
            headers = server.user("ana").headers
            client = httpx.Client(base_url=server.url, headers=headers, timeout=30)
            return House(server, provider, stack.enter_context(client))

        yield open_


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_answer_says_which_model_served(
    house: Opening, provider: Provider, door: str, status: int
) -> None:
    there = house()
    provider.answer("one", Answer(status=status))
    response = there.ask(door)
    assert response.status_code == 200
    kept = there.kept(response)
    assert (kept["model"], kept["provider"], kept["text"]) == (
        "chat/second",
        "openai",
        "from the second",
    )
    # What the answer cost, at the price of who served: 10 tokens in, 5 out.
    assert kept["usage"]["cost"] == pytest.approx((10 * 1 + 5 * 2) / 1_000_000)
    match door:
        case "json":
            answer = response.json()
            assert (answer["model"], answer["provider_model"]) == ("chat/second", "two")
            assert answer["usage"] == kept["usage"]
        case "text":
            assert "".join(frame.data for frame in parsed(response.content)[:-1]) == kept["text"]
        case _:
            *events, end = parsed_events(response.content)
            assert text_of(events) == kept["text"]
            assert (end.data["model"], end.data["provider_model"]) == ("chat/second", "two")


@pytest.mark.parametrize("door", DOORS)
def test_a_provider_that_cannot_be_reached_is_passed_over(
    house: Opening, provider: Provider, door: str
) -> None:
    there = house(base_url=provider.refused_url())
    response = there.ask(door)
    assert (response.status_code, there.kept(response)["model"]) == (200, "chat/second")


def test_a_model_that_is_silent_for_its_own_time_is_passed_over(
    house: Opening, provider: Provider
) -> None:
    there = house(timeout_seconds=0.2)
    provider.answer("one", Answer(stall_after=0))
    response = there.ask("json")
    assert response.json()["model"] == "chat/second"
    provider.client_left.wait_at_least(1)


def test_what_is_refused_as_wrong_is_told_and_not_asked_of_another(
    house: Opening, provider: Provider
) -> None:
    there = house()
    provider.answer("one", Answer(status=400))
    response = there.ask("json")
    assert (response.status_code, response.json()["code"]) == (502, "upstream_error")
    assert [ask.body["model"] for ask in provider.asks] == ["one"]


def test_if_all_refuse_the_last_refusal_is_told(house: Opening, provider: Provider) -> None:
    there = house()
    provider.answer("one", Answer(status=500))
    provider.answer("two", Answer(status=429, headers={"retry-after": "9"}))
    response = there.ask("text")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "9")
    assert response.json()["detail"].startswith("The provider of chat/second")


@pytest.mark.parametrize("door", DOORS)
def test_after_the_first_token_nothing_is_mixed_into_the_answer(
    house: Opening, provider: Provider, door: str
) -> None:
    there = house()
    provider.answer("one", Answer(["half"], cut_after=1))
    response = there.ask(door)
    kept = there.kept(response)
    assert (kept["status"], kept["text"], kept["model"]) == ("failed", "half", "chat/first")
    assert kept["error"]["code"] == "upstream_incomplete"


@pytest.mark.parametrize("door", DOORS)
def test_where_the_alias_says_so_the_next_model_begins_anew(
    house: Opening, provider: Provider, door: str
) -> None:
    there = house(mid_stream="restart")
    provider.answer("one", Answer(["half"], cut_after=1))
    response = there.ask(door)
    kept = there.kept(response)
    assert (kept["status"], kept["text"], kept["model"]) == (
        "completed",
        "from the second",
        "chat/second",
    )
    assert kept["position"] == "2-3"
    assert kept["usage"]["source"] == "estimated"  # of the first, nobody counted
    match door:
        case "json":
            assert response.json()["text"] == "from the second"
        case "text":
            frames = parsed(response.content)
            assert [frame.event for frame in frames] == [
                "message",
                "reset",
                "message",
                "message",
                "message",
            ]
            assert [frame.data for frame in frames] == [
                "half",
                '{"text":""}',
                "from ",
                "the second",
                "[DONE]",
            ]
        case _:
            events = parsed_events(response.content)
            assert [event.name for event in events] == [
                "start",
                "token",
                "reset",
                "token",
                "token",
                "end",
            ]
            assert [event.id for event in events] == [
                "1-0",
                "1-1",
                "2-0",
                "2-1",
                "2-2",
                "2-3",
            ]


def test_a_reader_who_comes_back_after_the_restart_gets_the_new_text(
    house: Opening, provider: Provider
) -> None:
    there = house(mid_stream="restart")
    provider.answer("one", Answer(["half"], cut_after=1))
    generation_id = there.ask("json").json()["generation_id"]
    path = f"/api/generations/{generation_id}/events"
    again = there.client.get(path, headers={"Last-Event-ID": "1-1"})
    first, *_ = parsed_events(again.content)
    assert (first.name, first.data["text"]) == ("reset", "from the second")
