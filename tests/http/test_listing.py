"""The list of one's answers: newest first, page by page, each exactly once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from attaching import PIECES, gated
from provider import Answer
from runnel.chat.entities import Status
from runnel.store.pages import PAGE_CHARACTERS
from standing import Json, Standing, standing
from waiting import until
from wire import NOBODYS_ID, query, refused_field

PATH = "/api/generations"
_numbers = count(1)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("listing")) as there:
        yield there


@pytest.fixture
def ada(stand: Standing) -> Iterator[httpx.Client]:
    """A client of a user whom no other test knows."""
    signed = stand.server.user(f"ada{next(_numbers)}")
    with httpx.Client(base_url=stand.server.url, headers=signed.headers, timeout=30) as client:
        yield client


def ask(stand: Standing, client: httpx.Client, answer: Answer | None = None) -> str:
    """The id of an answer that has ended."""
    body = {"message": stand.prompt(answer or Answer(PIECES))}
    return client.post("/chat", json=body).json()["generation_id"]


def page(client: httpx.Client, **params: Any) -> tuple[list[Json], str | None]:
    answer = client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"generations", "next_cursor"}
    return body["generations"], body["next_cursor"]


def ids(shown: list[Json]) -> list[str]:
    return [generation["generation_id"] for generation in shown]


def all_of(client: httpx.Client, **params: Any) -> list[str]:
    """The ids of all pages; none but the last may be empty."""
    found, cursor = page(client, **params)
    listed = ids(found)
    while cursor is not None:
        found, cursor = page(client, cursor=cursor, **params)
        assert found
        listed += ids(found)
    return listed


def change(stand: Standing, sql: str, *values: object) -> None:
    """As wire.query, with the names of one generation's row."""
    with closing(sqlite3.connect(stand.server.settings.data_dir / "runnel.db")) as base, base:
        base.execute(f"UPDATE generations SET {sql} WHERE id = ?", values)  # noqa: S608 - our own words


def test_who_has_asked_nothing_has_an_empty_list(ada: httpx.Client) -> None:
    assert page(ada) == ([], None)
    for status in Status:
        assert page(ada, status=status) == ([], None)


def test_the_newest_come_first_each_as_it_is_shown_alone(
    stand: Standing, ada: httpx.Client
) -> None:
    asked = [ask(stand, ada), ask(stand, ada, Answer(status=500)), ask(stand, ada)]
    shown, cursor = page(ada)
    assert cursor is None
    assert ids(shown) == asked[::-1]
    assert shown == [ada.get(f"{PATH}/{generation_id}").json() for generation_id in ids(shown)]
    times = [generation["created_at"] for generation in shown]
    assert times == sorted(times, reverse=True)


def test_a_page_has_twenty_and_at_most_a_hundred(stand: Standing, ada: httpx.Client) -> None:
    asked = [ask(stand, ada, Answer(["x"])) for _ in range(22)][::-1]
    shown, cursor = page(ada)
    assert ids(shown) == asked[:20]
    assert ids(page(ada, cursor=cursor)[0]) == asked[20:]
    assert (ids(page(ada, limit=100)[0]), page(ada, limit=100)[1]) == (asked, None)
    assert page(ada, limit=22)[1] is None  # exactly full: there is no next page
    for limit in (1, 2, 3, 7, 11, 21):
        assert all_of(ada, limit=limit) == asked


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1.5", "many", "", "9" * 400, "１"])
def test_a_limit_that_is_none_is_refused(ada: httpx.Client, limit: str) -> None:
    refused_field(ada.get(PATH, params={"limit": limit}), "limit")


@pytest.mark.parametrize(
    "status", ["", "done", "COMPLETED", "running,completed", "abort_requested", "*", "\0"]
)
def test_a_status_that_is_none_is_refused(ada: httpx.Client, status: str) -> None:
    refused_field(ada.get(PATH, params={"status": status}), "status")


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "1", "-", "0-0", f"1-{NOBODYS_ID}x", f"-1-{NOBODYS_ID}", f"1--{NOBODYS_ID}"),
        *(NOBODYS_ID, f"1.5-{NOBODYS_ID}", f"１-{NOBODYS_ID}", f" 1-{NOBODYS_ID}"),
        *(f"1-{NOBODYS_ID}\n", f"1-{NOBODYS_ID.upper().replace('0', 'G')}", f"1-{'a' * 35}"),
        *(f"{'9' * 18}-{NOBODYS_ID}", f"{'9' * 5000}-{NOBODYS_ID}", f"1e9-{NOBODYS_ID}"),
        *("' OR 1=1 --", "\0", "\N{GRINNING FACE}", "2026-01-01T00:00:00Z", "bnVsbA=="),
    ],
)
def test_a_cursor_that_no_page_named_is_refused(ada: httpx.Client, cursor: str) -> None:
    refused_field(ada.get(PATH, params={"cursor": cursor}), "cursor")


def test_cursors_of_all_times_are_read(stand: Standing, ada: httpx.Client) -> None:
    asked = ask(stand, ada)
    assert ids(page(ada, cursor=f"{'9' * 17}-{NOBODYS_ID}")[0]) == [asked]
    assert page(ada, cursor=f"0-{NOBODYS_ID}") == ([], None)


def test_what_is_asked_meanwhile_repeats_and_hides_nothing(
    stand: Standing, ada: httpx.Client
) -> None:
    asked = [ask(stand, ada, Answer(["x"])) for _ in range(7)][::-1]
    listed: list[str] = []
    cursor = None
    while True:
        found, cursor = page(ada, limit=2, **({"cursor": cursor} if cursor else {}))
        listed += ids(found)
        if cursor is None:
            break
        ask(stand, ada, Answer(["new"]))
    assert listed == asked


def test_what_is_deleted_meanwhile_breaks_no_chain(stand: Standing, ada: httpx.Client) -> None:
    asked = [ask(stand, ada, Answer(["x"])) for _ in range(5)][::-1]
    found, cursor = page(ada, limit=2)
    query(stand.server, "DELETE FROM generations WHERE id = ?", asked[1])  # the cursor's own
    assert ids(found) == asked[:2]
    assert ids(page(ada, limit=3, cursor=cursor)[0]) == asked[2:]


def test_answers_of_the_same_moment_are_listed_each_once(
    stand: Standing, ada: httpx.Client
) -> None:
    asked = [ask(stand, ada, Answer(["x"])) for _ in range(6)]
    for generation_id in asked:
        change(stand, "created_at = '2026-01-02 03:04:05.000000'", generation_id)
    for limit in (1, 2, 4, 5):
        assert all_of(ada, limit=limit) == sorted(asked, reverse=True)


def test_anothers_answers_are_never_shown(stand: Standing, ada: httpx.Client) -> None:
    own = [ask(stand, ada) for _ in range(3)][::-1]
    mine = [ask(stand, stand.client) for _ in range(3)][::-1]
    assert all_of(ada, limit=1) == own
    _, foreign_cursor = page(stand.client, limit=1)
    assert set(ids(page(ada, cursor=foreign_cursor)[0])) <= set(own)
    assert not set(all_of(stand.client, limit=2)) & set(own)
    assert all_of(stand.client, limit=100)[:3] == mine
    # What is not a parameter changes nothing: nobody lists for another.
    assert all_of(ada, user_id=NOBODYS_ID) == own


def test_each_status_finds_its_own(stand: Standing, ada: httpx.Client) -> None:
    found = {
        "completed": ask(stand, ada),
        "failed": ask(stand, ada, Answer(status=500)),
        "interrupted": ask(stand, ada, Answer(status=500)),
        "aborted": ask(stand, ada),
        "queued": ask(stand, ada),
    }
    change(stand, "status = 'interrupted'", found["interrupted"])
    change(stand, "status = 'aborted', aborted_by = 'user', finish_reason = NULL", found["aborted"])
    change(stand, "status = 'queued', epoch = 0, last_offset = NULL", found["queued"])
    with gated(stand, client=ada) as running:
        found["running"] = running
        # Else a checkpoint may come between the two that are compared.
        until(lambda: ada.get(f"{PATH}/{running}").json()["position"] == "1-2")
        for status in Status:
            assert all_of(ada, status=status, limit=1) == [found[status]]
            [shown], _ = page(ada, status=status)
            assert shown["status"] == status
            assert shown == ada.get(f"{PATH}/{found[status]}").json()
    change(stand, "status = 'completed', epoch = 1, last_offset = 6", found["queued"])


def test_what_runs_is_shown_with_its_text_up_to_its_position(
    stand: Standing, ada: httpx.Client
) -> None:
    with gated(stand, client=ada) as running:
        until(lambda: page(ada)[0][0]["position"] == "1-2")
        [shown], cursor = page(ada, status="running")
        assert cursor is None
        assert (shown["generation_id"], shown["status"]) == (running, "running")
        assert (shown["text"], shown["position"]) == ("".join(PIECES[:2]), "1-2")
        assert (shown["usage"], shown["finish_reason"], shown["error"]) == (None, None, None)
        assert page(ada) == ([shown], None)
    assert page(ada, status="running") == ([], None)


def lengthen(stand: Standing, generation_id: str, characters: int) -> None:
    query(
        stand.server,
        "UPDATE messages SET content = replace(hex(zeroblob(? / 2)), '00', 'ab') WHERE id ="
        " (SELECT message_id FROM generations WHERE id = ?)",
        characters,
        generation_id,
    )


@pytest.mark.parametrize(
    ("lengths", "pages"),
    [
        ((PAGE_CHARACTERS // 2, PAGE_CHARACTERS // 2, 2, 2), [2, 2]),
        ((PAGE_CHARACTERS * 3, PAGE_CHARACTERS * 2, 2), [1, 1, 1]),
        ((2, PAGE_CHARACTERS * 2, 2), [1, 1, 1]),
        ((PAGE_CHARACTERS, 2, 2), [1, 2]),
    ],
)
def test_long_texts_make_shorter_pages_that_have_one_answer_at_least(
    stand: Standing, ada: httpx.Client, lengths: tuple[int, ...], pages: list[int]
) -> None:
    asked = [ask(stand, ada, Answer(["x"])) for _ in lengths][::-1]
    for generation_id, length in zip(asked, lengths, strict=True):
        lengthen(stand, generation_id, length)
    cursor, listed, counted = "", list[str](), list[int]()
    while cursor is not None:
        found, cursor = page(ada, **({"cursor": cursor} if cursor else {}))
        listed += ids(found)
        counted.append(len(found))
        assert [len(shown["text"]) for shown in found] == [
            lengths[asked.index(generation_id)] for generation_id in ids(found)
        ]
    assert (listed, counted) == (asked, pages)


def test_the_texts_of_what_runs_make_shorter_pages_too(stand: Standing, ada: httpx.Client) -> None:
    asked = [ask(stand, ada, Answer(["x"])) for _ in range(3)][::-1]
    for generation_id in asked:
        change(stand, "status = 'running', last_offset = NULL", generation_id)
        query(
            stand.server,
            "INSERT INTO checkpoints (generation_id, epoch, last_offset, text)"
            " VALUES (?, 1, 9, replace(hex(zeroblob(? / 2)), '00', 'ab'))",
            generation_id,
            PAGE_CHARACTERS,
        )
    found, cursor = page(ada)
    assert ids(found) == asked[:1]
    assert len(found[0]["text"]) == PAGE_CHARACTERS
    assert cursor is not None
    for generation_id in asked:
        change(stand, "status = 'completed', last_offset = 2", generation_id)
