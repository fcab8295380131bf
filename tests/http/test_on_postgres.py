# pyright: reportUnusedImport=false
# ruff: noqa: F401
"""Servers on Postgres: the bodies of other files where the back end matters most, and its own faults.

`make test-postgres` runs everything on it.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

# What was asserted of servers on SQLite holds here, word for word.
from test_crash import (
    folder,
    start,
    test_a_killed_server_finds_its_answers_interrupted_with_what_was_checkpointed,
    test_a_second_server_on_the_same_data_ends_at_once_and_the_first_works_on,
)
from test_fault_table import (
    test_database_away_and_back,
)
from test_races import (
    tally,
    test_of_an_abort_and_the_answers_end_one_comes_first,
    test_of_many_asks_with_one_key_one_is_asked_and_all_are_answered,
)
from test_usage import (
    ada,
    server,
    test_a_day_has_a_row_for_each_model,
    test_days_are_those_of_utc_and_both_ends_count,
)
from test_users_who_go import (
    test_a_user_who_is_deleted_while_asking,
)

import postgres
from postgres import PASSWORD, Postgres
from processes import run
from provider import Answer, Provider
from reading import Incoming, parsed_events, text_of, without_comments
from standing import Standing, standing
from waiting import until
from wire import House

RACES = 50


@pytest.fixture(scope="module", autouse=True)
def on_postgres() -> Iterator[None]:
    """Every server of this file, of others' bodies too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNEL_TEST_DATABASE", "postgres")
        yield


@pytest.fixture(scope="module")
def stand(
    on_postgres: None,  # noqa: ARG001 - so that it is there before
    migrated: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Standing]:
    settings: dict[str, Any] = {"revocation_check_seconds": 0.01, "abort_wait_seconds": 20}
    with standing(migrated, tmp_path_factory.mktemp("postgres"), **settings) as there:
        yield there


async def test_of_two_asks_in_a_session_at_once_one_is_asked_and_one_is_told_so(
    stand: Standing,
) -> None:
    stand.provider.hold()
    async with stand.server.client(stand.user) as client:
        for race in range(RACES):
            prompts = [stand.prompt(Answer(["one"], gate_after=0)) for _ in range(2)]
            answers = await asyncio.gather(
                *(
                    client.post(
                        "/chat",
                        json={"message": prompt, "session_id": f"race-{race}", "background": True},
                    )
                    for prompt in prompts
                )
            )
            accepted, refused = sorted(answers, key=lambda answer: answer.status_code)
            assert (accepted.status_code, refused.status_code) == (202, 409), refused.text
            assert refused.json()["code"] == "busy"
            assert refused.json()["generation_id"] == accepted.json()["generation_id"]
    stand.provider.release()
    until(lambda: stand.held()["producers"] == 0)
    assert stand.rows(
        "SELECT count(*) FROM messages m JOIN sessions s ON s.id = m.session_id"
        " WHERE s.name LIKE 'race-%'"
    ) == [(2 * RACES,)]


def test_postgres_goes_and_comes_back_while_an_answer_is_told(
    own_postgres: Postgres, migrated: Path, tmp_path: Path
) -> None:
    url = postgres.migrated_copy(own_postgres)
    # The lock beside it is taken again, too.
    with standing(migrated, tmp_path, database_url=url, database_timeout_seconds=1) as stand:
        stand.provider.hold()
        prompt = stand.prompt(Answer(["one", " two", " three"], gate_after=1))
        body = {"prompt": prompt, "format": "events"}
        with stand.client.stream("POST", "/api/generate", json=body) as response:
            incoming = Incoming(response.iter_raw())
            incoming.until(b'"one"')
            own_postgres.stop(at_once=True)
            try:
                stand.provider.release()
                incoming.until(b'" three"')
                for path in ("/chat", "/api/generate"):
                    refused = stand.client.post(path, json={"message": "?"})
                    assert (refused.status_code, refused.json()["code"]) == (
                        503,
                        "store_unavailable",
                    )
                    assert int(refused.headers["Retry-After"]) >= 1
                assert stand.client.get("/readyz").status_code == 503
                assert stand.client.get("/healthz").status_code == 200
                assert b"event: end" not in incoming.body
            finally:
                own_postgres.start()
            # Nobody who comes now notices, whatever connections were kept.
            listed = [stand.client.get("/api/generations") for _ in range(20)]
            assert [answer.status_code for answer in listed] == [200] * 20
            events = parsed_events(without_comments(incoming.rest()))
        assert (text_of(events), events[-1].name) == ("one two three", "end")
        assert stand.ended(response.headers["X-Generation-Id"])[:2] == (
            "completed",
            "one two three",
        )
        assert stand.ask("/chat", Answer(["again"])).json()["text"] == "again"


def test_no_id_name_or_cursor_with_a_nul_is_the_servers_fault(house: House) -> None:
    admin = house.server.call(house.server.server.administration.issue_token("admin"))
    document = house.http.get("/openapi.json").json()
    statuses = set[int]()
    for path, method, operation in operations(document):
        filled = re.sub(r"\{\w+\}", quote("a\0b"), path)
        queries = {
            parameter["name"]: "a\0b"
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
        }
        if path == filled and not queries:
            continue
        for asked in ({}, queries):
            answer = house.http.request(
                method,
                filled,
                params=asked,
                json={"message": "a\0b", "name": "a\0b", "title": "a\0b"},
                headers={"Authorization": f"Bearer {admin}"},
            )
            assert answer.status_code < 500, (method, path, answer.text)
            statuses.add(answer.status_code)
    assert 404 in statuses


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "put", "patch", "delete"}:
            yield path, method, item[method]


def test_what_keeps_a_server_from_its_database_is_told_without_its_password(
    tmp_path: Path, provider: Provider
) -> None:
    del provider
    right = postgres.migrated_url()
    wrong = right.replace(PASSWORD, "wrong-canary")
    away = "postgresql://u:wrong-canary@127.0.0.1:1/runnel"
    # One that does not answer a server waits for; see tests/many/test_opening.py.
    for command, url, said in (
        ("serve", wrong, "password authentication failed"),
        ("migrate", away, "cannot open the database runnel on 127.0.0.1:1"),
    ):
        ended = run(tmp_path, command, DATABASE_URL=url)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1].startswith("runnel: cannot open the database ")
        assert said in ended.stderr
        assert "canary" not in ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr
    postgres.give_back(right)


def test_the_databases_password_is_in_no_log_and_no_manifest(stand: Standing) -> None:
    stand.ask("/chat", Answer(["one"]))
    files = [file for file in stand.server.settings.data_dir.rglob("*") if file.is_file()]
    assert any(file.name == "manifest.json" for file in files), files
    for file in files:
        assert PASSWORD.encode() not in file.read_bytes(), file


def test_who_is_connected_is_told_by_its_name(stand: Standing) -> None:
    names = stand.rows(
        "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
    )
    assert ("runnel",) in names


def test_a_client_of_its_own_reads_while_all_writes_wait(stand: Standing) -> None:
    with postgres.locked(stand.server.settings.database_url):
        assert httpx.get(f"{stand.server.url}/readyz").status_code == 200
