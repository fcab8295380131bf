"""Who comes first wins, everybody is told the same, and it stays so: one end, one question."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from assembling import Assembled, Reply, reply_of, told_by_stream
from cuts import SEED, Door, counts, no_errors, say
from cutting_off import exchange
from provider import BEFORE_HEADERS, Answer
from racing import (
    PIECES,
    WHOLE,
    Moment,
    Raced,
    asked,
    assert_asked_once,
    assert_unchanged,
    attached,
)
from serving import Signed
from standing import Json, Standing, standing
from wire import query

RACES: Final = int(os.environ.get("RUNNEL_RACES") or 50)
AT_ONCE: Final = 5
#: What every answer to the same question has in its head.
FORMS: Final = ("text", "events")
IDS: Final = ("x-generation-id", "x-session-id", "x-message-id", "x-user-message-id")


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("races")
    # A busy machine may be slow to store an end; here it is waited for, to be compared.
    settings = {"revocation_check_seconds": 0.01, "abort_wait_seconds": 20}
    with standing(migrated, folder, **settings) as there:
        yield there


@pytest.fixture
def tally(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Counter[str]]:
    """Who won how often, said at the end. Whoever does, it is no error."""
    counted = Counter[str]()
    name = str(request.node.name)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - untyped
    try:
        with no_errors(caplog):
            yield counted
    finally:
        say(f"{name}: {counts(counted)}", capsys)


def batches(races: int) -> Iterator[tuple[random.Random, int]]:
    """How many races are run at a time, and what they choose by."""
    for begin in range(0, races, AT_ONCE):
        yield random.Random(f"{SEED} {begin}"), min(AT_ONCE, races - begin)


async def abort(race: Raced, moment: Moment) -> Reply:
    await moment.second()
    return await race.abort()


async def test_of_an_abort_and_the_answers_end_one_comes_first(
    stand: Standing, tally: Counter[str]
) -> None:
    moment = Moment(random.Random(SEED))
    ends: list[tuple[Raced, Json]] = []
    for choice, number in batches(RACES):
        stand.provider.hold()
        # The gate is behind the last word, or before some of them.
        gates = [choice.choice((len(PIECES), choice.randrange(5))) for _ in range(number)]
        raced = await asked(stand, choice, [Answer(PIECES, gate_after=gate) for gate in gates])
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, number, 20)
        for race in raced:
            race.read(choice)
        aborting = asyncio.gather(*(abort(race, moment) for race in raced))
        await moment.first()
        stand.provider.release()
        for race, answer in zip(raced, await aborting, strict=True):
            kept, by = await race.end(answer)
            assert by == {"completed": "", "aborted": "user"}[kept["status"]]
            ends.append((race, kept))
            tally[kept["status"]] += 1
            moment.second_won(won=kept["status"] == "aborted")
    await assert_unchanged(ends)
    assert_asked_once(stand, [race for race, _ in ends])


async def test_of_many_aborts_one_ends_the_answer_and_all_are_told_so(
    stand: Standing, tally: Counter[str]
) -> None:
    ends: list[tuple[Raced, Json]] = []
    for choice, number in batches(RACES // 2):
        moment = Moment(choice)
        stand.provider.hold()
        gates = [choice.randint(BEFORE_HEADERS, len(PIECES)) for _ in range(number)]
        raced = await asked(stand, choice, [Answer(PIECES, gate_after=gate) for gate in gates])
        if choice.random() < 0.6:  # else before the model is asked, or meanwhile
            await asyncio.to_thread(stand.provider.at_gate.wait_at_least, number, 20)
        for race in raced:
            race.read(choice)
        aborts = [choice.randint(2, 5) for _ in raced]
        answered = await asyncio.gather(
            *(
                asyncio.gather(*(abort(race, moment) for _ in range(many)))
                for race, many in zip(raced, aborts, strict=True)
            )
        )
        await asyncio.to_thread(stand.provider.at_gate.wait_at_most, 0)
        for race, answers in zip(raced, answered, strict=True):
            kept, by = await race.end(*answers)
            assert (kept["status"], by) == ("aborted", "user")
            ends.append((race, kept))
            tally["aborts"] += len(answers)
            tally["in mid-answer" if kept["text"] else "before a token"] += 1
    await assert_unchanged(ends)
    assert_asked_once(stand, [race for race, _ in ends], at_least=0)


async def test_of_an_abort_and_its_user_disabled_one_comes_first(
    stand: Standing, tally: Counter[str]
) -> None:
    moment = Moment(random.Random(SEED))
    administration = stand.server.server.administration

    async def disable(user: Signed) -> None:
        await moment.first()
        await asyncio.to_thread(stand.server.call, administration.disable(user.username))

    async def enabled(user: Signed) -> Signed:
        await administration.enable(user.username)
        token = await administration.issue_token(user.username)
        return Signed(user.username, user.password, token)

    for choice, number in batches(RACES // 2):
        stand.provider.hold()
        names = [f"u{choice.getrandbits(64):x}" for _ in range(number)]
        users = await asyncio.gather(*(asyncio.to_thread(stand.server.user, n) for n in names))
        answer = Answer(PIECES, gate_after=choice.randint(0, len(PIECES)))
        raced = [Raced(stand, answer, user) for user in users]
        await asyncio.gather(*(race.ask(choice) for race in raced))
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, number, 20)
        for race in raced:
            race.reading = [asyncio.create_task(whole(race, form)) for form in FORMS]
        await attached(stand, 2 * number)
        disabling = asyncio.gather(*(disable(user) for user in users))
        answered = await asyncio.gather(*(abort(race, moment) for race in raced))
        await disabling
        await asyncio.wait([task for race in raced for task in race.reading])
        for race, user, reply in zip(raced, users, answered, strict=True):
            assert reply.status in {200, 401}, reply
            race.question.sign_in(await asyncio.to_thread(stand.server.call, enabled(user)))
            kept, by = await race.end(*([reply] if reply.status == 200 else []))
            assert kept["status"] == "aborted"
            tally[f"by {by}, answered {reply.status}"] += 1
            moment.second_won(won=by == "user")
        assert_asked_once(stand, raced)


async def whole(race: Raced, form: str) -> Assembled:
    """An answer as it comes over one connection, which must tell its end."""
    request = race.question.reading(random.Random(SEED), "events", form, None)
    reply = reply_of(await exchange(race.question.port, request))
    assert (reply.status, reply.whole) == (200, True), reply
    read = Assembled()
    for told in told_by_stream(reply.body, form):
        read.take(told)
    assert read.done, f"closed at {read.place}, before the end was told"
    return read


@pytest.mark.parametrize(("asks", "races"), [(2, RACES), (5, RACES // 2)])
async def test_of_many_asks_with_one_key_one_is_asked_and_all_are_answered(
    stand: Standing, tally: Counter[str], asks: int, races: int
) -> None:
    ends: list[tuple[Raced, Json]] = []
    for choice, number in batches(races):
        racing = [one_key(stand, choice.random(), asks, tally) for _ in range(number)]
        for race in await asyncio.gather(*racing):
            kept, _ = await race.end()
            assert kept["status"] == "completed"
            ends.append((race, kept))
    await assert_unchanged(ends)
    assert_asked_once(stand, [race for race, _ in ends])


async def one_key(stand: Standing, seed: float, asks: int, tally: Counter[str]) -> Raced:
    """The question that came first, which all others joined."""
    choice = random.Random(seed)
    answer = Answer(PIECES, delay=choice.choice((0.0, 0.003)))
    race, rival = Raced(stand, answer), Raced(stand, answer)
    rival.question.key = race.question.key
    if choice.random() < 0.5:
        race.question.session = rival.question.session = race.question.prompt.replace(" ", "-")
    doors: tuple[Door, ...] = ("post", "whole", "background")
    # Now and then the key is used for another question too.
    plans: list[tuple[Raced, Door, str]] = [
        (choice.choice((race, race, race, rival)), choice.choice(doors), choice.choice(FORMS))
        for _ in range(asks)
    ]

    async def ask(one: Raced, door: Door, form: str) -> Reply:
        request = one.question.asking(choice, door, form, None)
        await asyncio.sleep(choice.choice((0.0, choice.random() * 0.004)))
        return reply_of(await exchange(one.question.port, request))

    replies = await asyncio.gather(*(ask(*plan) for plan in plans))
    [first] = {one for (one, _, _), reply in zip(plans, replies, strict=True) if reply.status < 300}
    ids: set[tuple[str, ...]] = set()
    for (one, door, form), reply in zip(plans, replies, strict=True):
        tally[f"{door} {reply.status}"] += 1
        if one is first:
            ids.add(tuple(reply.headers[name] for name in IDS))
            assert_answered(reply, door, form)
        else:
            assert (reply.status, json.loads(reply.body)["code"]) == (409, "idempotency_conflict")
    [(generation_id, session_id, _, _)] = ids
    first.question.learn(generation_id, session_id)
    assert_written_once(stand, first, session_id)
    return first


def assert_answered(reply: Reply, door: Door, form: str) -> None:
    assert reply.whole
    assert reply.status == (202 if door == "background" else 200)
    if door == "whole":
        assert json.loads(reply.body)["text"] == WHOLE
    elif door == "post":
        read = Assembled()
        for told in told_by_stream(reply.body, form):
            read.take(told)
        assert (read.done, read.text) == (True, WHOLE)


def assert_written_once(stand: Standing, race: Raced, session_id: str) -> None:
    key, name = race.question.key, race.question.session
    counted = query(
        stand.server,
        "SELECT (SELECT count(*) FROM generations WHERE ask_key = ?),"
        " (SELECT count(*) FROM generations WHERE session_id = ?),"
        " (SELECT count(*) FROM messages WHERE session_id = ?),"
        " (SELECT count(*) FROM sessions WHERE name = ?)",
        key,
        session_id,
        session_id,
        name,
    )
    assert counted == [(1, 1, 2, 1 if name else 0)]
