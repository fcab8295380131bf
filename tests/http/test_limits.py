"""How much one user may ask, and one server at once."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import parse

from provider import Answer, Provider
from runnel.edge import limits as edge_limits
from runnel.edge.limits import Standing, WindowMemory, Windows
from serving import Signed
from wire import House, Serve, ask, models_of, problem, settle

LIMIT: Final = 30
SETTINGS: Final = {"rate_limit_messages_per_minute": LIMIT}
JSON: Final = {"Content-Type": "application/json"}


def limits_of(house: House, who: Signed) -> dict[str, int]:
    return house.http.get("/me", headers=who.headers).json()["limits"]


def test_the_31st_question_in_a_minute_is_refused_at_either_door(
    house: House, ada: Signed, bob: Signed
) -> None:
    assert limits_of(house, ada) == {"used": 0, "limit": LIMIT, "reset_in": 0}
    for number in range(1, LIMIT + 1):
        answer = ask(house, ada, "/chat" if number % 2 else "/api/generate")
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit"] == str(LIMIT)
        assert answer.headers["x-ratelimit-remaining"] == str(LIMIT - number)
        assert 0 < int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    for path in ("/chat", "/api/generate"):
        answer = ask(house, ada, path)
        problem(answer, 429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["x-ratelimit-limit"] == str(LIMIT)
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert 0 < int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61
    standing = limits_of(house, ada)
    assert (standing["used"], standing["limit"]) == (LIMIT, LIMIT)
    assert 1 <= standing["reset_in"] <= 60
    assert ask(house, bob).headers["x-ratelimit-remaining"] == str(LIMIT - 1)


def test_all_tokens_and_keys_of_a_user_use_one_budget(house: House, ada: Signed) -> None:
    key = house.http.post("/api/keys", headers=ada.headers).json()["key"]
    tokens = (ada.token, house.login(ada)["access_token"], key)
    left = [ask(house, Signed("", "", t)).headers["x-ratelimit-remaining"] for t in tokens]
    assert left == ["29", "28", "27"]


def test_only_questions_count_and_refused_ones_too(house: House, ada: Signed) -> None:
    id_ = ask(house, ada).json()["generation_id"]
    for path in ("/me", f"/api/generations/{id_}", "/api/keys", "/models"):
        assert house.http.get(path, headers=ada.headers).status_code == 200
    assert limits_of(house, ada)["used"] == 1
    refused = house.http.post("/chat", content=b"{", headers=ada.headers | JSON)
    assert refused.status_code == 422
    assert refused.headers["x-ratelimit-remaining"] == str(LIMIT - 2)
    assert ask(house, Signed("", "", "garbage")).status_code == 401
    assert limits_of(house, ada)["used"] == 2


async def test_of_60_questions_at_once_30_are_let_through(house: House, ada: Signed) -> None:
    async with house.server.client(ada) as client:
        answers = await asyncio.gather(
            *(client.post("/chat", json={"message": "hi"}) for _ in range(60))
        )
    assert Counter(answer.status_code for answer in answers) == {200: LIMIT, 429: LIMIT}


def test_a_guest_is_counted_by_address_and_a_user_behind_it_is_not(serve: Serve) -> None:
    server = serve(anonymous_access=True, rate_limit_messages_per_minute=1)
    users = [server.user(name) for name in ("ada", "bob")]
    with httpx.Client(base_url=server.url) as http:
        statuses = [http.post("/chat", json={"message": "hi"}).status_code for _ in range(2)]
        assert statuses == [200, 429]
        for user in users:
            answer = http.post("/chat", json={"message": "hi"}, headers=user.headers)
            assert answer.status_code == 200


class Time:
    """A clock in the place of the modules' own `time`."""

    def __init__(self) -> None:
        self.now = 1_000_000.0


@contextmanager
def standing_time() -> Generator[Time]:
    clock = Time()
    fake = SimpleNamespace(time=lambda: clock.now)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("runnel.edge.limits", "limits.aio.storage.memory", "limits.limits"):
            patch.setattr(f"{module}.time", fake, raising=False)
        yield clock


def window(amount: int) -> Any:
    """Takes a place at a moment, if there is one."""
    windows, limit = Windows(WindowMemory()), parse(f"{amount}/minute")

    async def hit() -> tuple[bool, Standing]:
        return await windows.hit(limit, "messages", "user:ada")

    return hit


async def test_an_edge_of_the_window_lets_no_more_through() -> None:
    with standing_time() as clock:
        hit, began = window(LIMIT), clock.now
        clock.now = began + 59.9
        taken = [await hit() for _ in range(LIMIT + 1)]
        assert [was for was, _ in taken] == [True] * LIMIT + [False]
        assert [standing.remaining for _, standing in taken] == [*range(LIMIT - 1, -1, -1), 0]
        for moment in (60.0, 60.1, 90.0, 119.8, 119.9):
            clock.now = began + moment
            was, standing = await hit()
            assert not was
            assert standing.remaining == 0 or moment == 119.9
        clock.now = began + 59.9 + 60.01
        taken = [await hit() for _ in range(LIMIT + 1)]
        assert [was for was, _ in taken] == [True] * LIMIT + [False]


async def test_what_a_refused_one_is_told_to_wait_is_enough() -> None:
    with standing_time() as clock:
        hit = window(2)
        for pause in (0.0, 20.0, 15.0):
            clock.now += pause
            was, standing = await hit()
        assert not was
        assert standing.reset_in == 25
        clock.now += standing.reset_in
        assert not (await hit())[0]  # the bound itself still counts
        clock.now += 0.001
        assert (await hit())[0]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 5),
    st.lists(st.sampled_from([0.0, 0.25, 7.5, 29.75, 30.0, 59.75, 60.0, 60.25, 200.0])),
)
def test_the_window_moves_as_a_naive_one_does(amount: int, pauses: list[float]) -> None:
    async def compare(clock: Time) -> None:
        hit, naive = window(amount), deque[float]()
        for pause in pauses:
            clock.now += pause
            while naive and naive[0] < clock.now - 60:
                naive.popleft()
            free = len(naive) < amount
            if free:
                naive.append(clock.now)
            taken, standing = await hit()
            assert taken == free
            # A place that frees at this very moment is shown as free already.
            shown = sum(moment > clock.now - 60 for moment in naive)
            assert standing.remaining == amount - shown

    with standing_time() as clock:
        asyncio.run(compare(clock))


async def test_what_has_run_out_is_kept_no_longer_than_till_the_next_hit() -> None:
    with standing_time() as clock:
        memory = WindowMemory()
        windows, limit = Windows(memory), parse("1000/minute")
        for _ in range(5):
            await windows.hit(limit, "messages", "user:ada")
        clock.now += 60.001
        await windows.hit(limit, "messages", "user:ada")
        assert [len(entries) for entries in memory.events.values()] == [1]


async def test_the_sweep_drops_who_is_idle_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge_limits, "_SWEEP_EVERY_HITS", 8)
    with standing_time() as clock:
        memory = WindowMemory()
        windows, limit = Windows(memory), parse("2/minute")
        for user in range(7):
            await windows.hit(limit, "messages", f"idle{user}")
        clock.now += 45
        await windows.hit(limit, "messages", "busy")
        assert len(memory.events) == 8
        clock.now += 30
        for _ in range(8):
            await windows.hit(limit, "messages", "other")
        assert {key.rpartition("/messages/")[2].split("/")[0] for key in memory.events} == {
            "busy",
            "other",
        }
        taken = [(await windows.hit(limit, "messages", "busy"))[0] for _ in range(2)]
        assert taken == [True, False]


def test_logins_are_counted_by_account(serve: Serve) -> None:
    server = serve(login_attempts_per_minute=3)
    ada, bob = (server.user(name) for name in ("ada", "bob"))
    with httpx.Client(base_url=server.url) as http:
        wrong = {"username": "ada", "password": "wrong"}
        assert http.post("/login", json=wrong).status_code == 401
        assert http.post("/login", json=wrong | {"username": "ADA"}).status_code == 401
        assert http.post("/token", data=wrong).status_code == 401
        for right in (ada, Signed("Ada", ada.password, "")):
            body = {"username": right.username, "password": right.password}
            answer = http.post("/login", json=body)
            problem(answer, 429, "rate_limited")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        body = {"username": bob.username, "password": bob.password}
        assert http.post("/login", json=body).status_code == 200
        assert http.get("/me", headers=ada.headers).status_code == 200


def test_logins_are_counted_by_address_before_anything_is_read(serve: Serve) -> None:
    server = serve(login_attempts_per_minute_per_address=4)
    with httpx.Client(base_url=server.url) as http:
        for number in range(3):
            body = {"username": f"user{number}", "password": "wrong"}
            assert http.post("/login", json=body).status_code == 401
        assert http.post("/login", content=b"{", headers=JSON).status_code == 422
        for content in (b"{", b'{"username": "new", "password": "wrong"}'):
            answer = http.post("/login", content=content, headers=JSON)
            problem(answer, 429, "rate_limited")
            assert answer.headers["retry-after"]


def attempts(serve: Serve, forwarded: list[str], **changes: Any) -> list[int]:
    """Statuses of attempts to log in that say to come from those addresses; one is allowed."""
    server = serve(login_attempts_per_minute_per_address=1, **changes)
    body = {"username": "nobody", "password": "wrong"}
    return [
        httpx.post(f"{server.url}/login", json=body, headers={"X-Forwarded-For": f}).status_code
        for f in forwarded
    ]


@pytest.mark.parametrize("allowed", ["", "192.0.2.7", "10.0.0.0/8"])
def test_forwarded_addresses_of_a_stranger_are_ignored(serve: Serve, allowed: str) -> None:
    addresses = ["198.51.100.1", "198.51.100.2"]
    assert attempts(serve, addresses, forwarded_allow_ips=allowed) == [401, 429]


@pytest.mark.parametrize("allowed", ["127.0.0.1", "192.0.2.7, 127.0.0.0/8", "*"])
def test_forwarded_addresses_of_the_proxy_are_believed(serve: Serve, allowed: str) -> None:
    addresses = ["198.51.100.1", "198.51.100.2", "198.51.100.1"]
    assert attempts(serve, addresses, forwarded_allow_ips=allowed) == [401, 401, 429]


def test_what_a_client_puts_before_the_proxys_own_word_is_ignored(serve: Serve) -> None:
    addresses = ["203.0.113.1, 198.51.100.1", "203.0.113.2, 198.51.100.1", "x, 198.51.100.1"]
    assert attempts(serve, addresses, forwarded_allow_ips="127.0.0.1") == [401, 429, 429]


def test_when_running_answers_fill_the_logs_more_are_refused_until_one_ends(
    serve: Serve, provider: Provider
) -> None:
    provider.answer("gated", Answer(pieces=("first", " second"), gate_after=1))
    server = serve(models=models_of(provider), log_total_bytes=1)
    ada = server.user("ada")
    with httpx.Client(base_url=server.url, headers=ada.headers, timeout=30) as http:
        body = {"prompt": "hi", "model": "chat/gated"}
        with http.stream("POST", "/api/generate", json=body) as stream:
            lines = stream.iter_lines()
            while next(lines) != "data: first":
                pass
            refused = http.post("/chat", json={"message": "hi"})
            assert refused.headers["retry-after"] == "1"
            problem(refused, 503, "overloaded")
            provider.release()
            assert [line for line in lines if line][-1] == "data: [DONE]"
        settle(server)
        assert http.post("/chat", json={"message": "hi"}).status_code == 200
