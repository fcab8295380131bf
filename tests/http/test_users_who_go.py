"""Users who are disabled or deleted in STREAMS.md's fault table: aborted first, then out."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from door_readers import followed_at_every_door, told_by
from doors import FLOWING, TLS, Asked
from provider import Answer
from serving import Signed
from standing import Standing, locked, standing
from waiting import soon

#: The test itself lets the server look for who may not read any more, so that it knows when. A
#: database that is away is found out soon, and as many as there are doors may read at once.
BY_HAND: dict[str, Any] = {
    "revocation_check_seconds": 3600,
    "database_timeout_seconds": 0.4,
    "database_pool_size": 20,
}


async def test_a_user_who_is_disabled(migrated: Path, tmp_path: Path) -> None:
    with (
        standing(migrated, tmp_path, **BY_HAND) as stand,
        somebody(stand, "leaving") as (leaving, client),
        somebody(stand, "other") as (_, other),
    ):
        parts = stand.server.server.parts
        left = stand.provider.client_left.value
        async with followed_at_every_door(stand, client) as (asked, readers):
            stand.server.call(stand.server.server.administration.disable(leaving.username))
            with locked(stand):
                looking = asyncio.create_task(
                    asyncio.to_thread(stand.server.call, parts.watch.look())
                )
                await asyncio.to_thread(stand.provider.client_left.wait_at_least, left + 1)
                # The model is stopped, and the row has not ended: nobody is sent away before.
                assert [reader for reader in readers.values() if reader.over] == []
            await looking
        # There the end holds the whole text, which is looked up; the socket may be closed by then.
        looking_up = readers.pop("ws completions")
        assert (looking_up.text, looking_up.end) in {("one", "aborted"), ("one", None)}, looking_up
        for reader in readers.values():
            assert (reader.status, reader.text, reader.end) == (200, "one", "aborted"), reader
            assert reader.done
            assert reader.told.get("by", "server") == "server"
        assert stand.ended(asked.generation_id) == ("aborted", "one", None, "server")
        await assert_out(asked, client, other)
        assert stand.held() == dict.fromkeys(stand.held(), 0)


async def test_a_user_who_is_deleted(migrated: Path, tmp_path: Path) -> None:
    with (
        standing(migrated, tmp_path) as stand,
        somebody(stand, "leaving") as (_, client),
        somebody(stand, "other") as (_, other),
    ):
        left = stand.provider.client_left.value
        async with followed_at_every_door(stand, client) as (asked, readers):
            # Before the abort nothing is gone: an answer that would go on is told and stored.
            deleted = await asyncio.to_thread(client.delete, "/me")
            assert deleted.status_code == 204, deleted.text
        stand.provider.client_left.wait_at_least(left + 1, timeout=1)
        for reader in readers.values():
            if reader.door in {"json", "ws completions"}:
                # It looks its row up, which may be gone by then.
                assert reader.status in {200, 401, 404}, reader
                continue
            assert (reader.status, reader.text, reader.end) == (200, "one", "aborted"), reader
            assert reader.told.get("by", "user") == "user"
        assert stand.ended(asked.generation_id) == ()
        assert_nothing_left(stand)
        await assert_out(asked, client, other)
        assert stand.held() == dict.fromkeys(stand.held(), 0)


async def test_a_user_who_is_deleted_while_asking(migrated: Path, tmp_path: Path) -> None:
    """Whatever the deletion overtakes or is overtaken by, nothing of the user is left behind."""
    with standing(migrated, tmp_path) as stand:
        stand.provider.release()
        for number in range(5):
            with somebody(stand, f"leaving{number}") as (_, client):
                prompt = stand.prompt(Answer([f"{piece} " for piece in range(20)], delay=0.01))
                async with stand.server.client() as asking:
                    headers = {"Authorization": client.headers["Authorization"]}
                    posts = [
                        asyncio.create_task(
                            asking.post("/chat", json={"message": prompt}, headers=headers)
                        )
                        for _ in range(8)
                    ]
                    await asyncio.wait(posts, timeout=0.01 * number)
                    deleted = await asking.delete("/me", headers=headers)
                    answers = await asyncio.gather(*posts)
            assert deleted.status_code == 204
            assert {answer.status_code for answer in answers} <= {200, 401, 404, 409}, answers
        await soon(lambda: stand.held() == dict.fromkeys(stand.held(), 0))
        assert_nothing_left(stand)


def assert_nothing_left(stand: Standing) -> None:
    for table in ("generations", "messages", "checkpoints", "sessions"):
        assert stand.rows(f"SELECT * FROM {table}") == []  # noqa: S608 - names of ours


@contextmanager
def somebody(stand: Standing, name: str) -> Generator[tuple[Signed, httpx.Client]]:
    signed = stand.server.user(name)
    with httpx.Client(
        base_url=stand.server.url, headers=signed.headers, timeout=30, verify=TLS
    ) as client:
        yield signed, client


async def assert_out(asked: Asked, client: httpx.Client, other: httpx.Client) -> None:
    """The user is not let in anywhere any more, and nobody else ever was."""
    for reader in (await told_by(asked)).values():
        assert (reader.status, reader.told["code"]) == (401, "unauthorized"), reader
    for after in ("1-1", "1-2"):
        for reader in (await told_by(asked, FLOWING, after)).values():
            assert (reader.status, reader.told["code"]) == (401, "unauthorized"), reader
    assert_refused(asked, client, 401, "unauthorized")
    assert_refused(asked, other, 404, "not_found")


def assert_refused(asked: Asked, client: httpx.Client, status: int, code: str) -> None:
    path = f"/api/generations/{asked.generation_id}"
    for method, own in (("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/abort")):
        refused = client.request(method, own)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
