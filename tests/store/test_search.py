"""What is found is the same in every database: whole messages and titles, of their owner alone."""

import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pytest
from sqlalchemy import delete, func, select, text, update

from answers import Chat, unpriced
from runnel.accounts.passwords import random_password
from runnel.chat.entities import Ask, Ending, Fitted, Generation, SessionRef, Status, Turn
from runnel.chat.ports import Begun, Checkpoint
from runnel.chat.sessions.passages import SEARCHED_CHARACTERS
from runnel.chat.sessions.searching import Match, Term, parse_query
from runnel.chat.sessions.words import words
from runnel.events import Position, Usage
from runnel.store import indexing, search
from runnel.store.accounts import SqlAccountStore
from runnel.store.ids import now
from runnel.store.tables import MessageRow, SearchDocumentRow, SessionRow
from search_corpus import CORPUS, FOUND

USAGE: Final = Usage(1, 1, "estimated")


@pytest.fixture
async def chat(database_url: str) -> AsyncIterator[Chat]:
    async with Chat(database_url) as chat:
        yield chat


async def another(chat: Chat) -> str:
    user = await SqlAccountStore(chat.database).add_user("bo", random_password(), "user", now())
    assert user is not None
    return user.id


async def say(
    chat: Chat, texts: Sequence[str], user_id: str = "", *, stateless: bool = False
) -> Generation:
    """A session in which these were said, and were answered by nothing yet."""
    turns = [Turn("user", said) for said in texts]
    ask = Ask(user_id or chat.user_id, texts[-1], history=turns[:-1], stateless=stateless)
    begun = await chat.store.begin_ask(ask, chat.choose, "me")
    assert isinstance(begun, Begun)
    return begun.generation


async def answer(chat: Chat, generation: Generation, said: str) -> None:
    ending = Ending(
        status=Status.COMPLETED,
        text=said,
        position=Position(1, 1),
        usage=USAGE,
        finish_reason="stop",
    )
    await chat.store.finish(generation.id, 1, ending)


async def matches(chat: Chat, query: str, user_id: str = "", most: int = 1000) -> list[Match]:
    """In the sessions in their order, and there as they are shown."""
    parsed = parse_query(query)
    if not parsed.terms:
        return []
    owner = user_id or chat.user_id
    await chat.indexing.catch_up(owner)
    async with chat.database.read() as connection:
        found = search.sessions_with(connection, owner, parsed)
        ids = [*await connection.scalars(select(SessionRow.id).where(SessionRow.id.in_(found)))]
        texts = await search.matches(connection, owner, ids, parsed, most)
    shown = await search.snippets(texts, parsed)
    assert set(shown) == set(ids)
    return [match for session_id in sorted(ids) for match in shown[session_id]]


async def found(chat: Chat, query: str, user_id: str = "") -> list[str]:
    """The texts of the messages, in the order in which they were said."""
    here = await matches(chat, query, user_id)
    assert all("<mark>" in match.snippet for match in here)
    ids = [match.message_id for match in here if match.message_id]
    async with chat.database.read() as connection:
        rows = await connection.scalars(
            select(MessageRow.content).where(MessageRow.id.in_(ids)).order_by(MessageRow.id)
        )
        return [*rows]


async def test_a_corpus_of_many_languages_is_found_alike(chat: Chat) -> None:
    texts = list(CORPUS.values())
    for begin in range(0, len(texts), 7):
        await say(chat, texts[begin : begin + 7])
    names = {said: name for name, said in CORPUS.items()}
    wrong = {
        query: (sorted(here), sorted(expected.split()))
        for query, expected in FOUND
        if sorted(here := [names[said] for said in await found(chat, query)])
        != sorted(expected.split())
    }
    assert wrong == {}


async def test_chance_finds_what_a_plain_reading_finds(chat: Chat) -> None:
    chance = random.Random(6)
    vocabulary = ["ab", "abc", "a", "b", "Ab\u0301", "東", "東京", "京", "don't", "x-y", "é", "1.5"]
    texts = sorted(
        {" ".join(chance.choices(vocabulary, k=chance.randint(1, 9))) for _ in range(120)}
    )
    for begin in range(0, len(texts), 10):
        await say(chat, texts[begin : begin + 10])
    for _ in range(60):
        query = " ".join(chance.choices([*vocabulary, '"ab a"', '"東 a"', '"', "b 京"], k=2))
        assert sorted(await found(chat, query)) == [said for said in texts if reads(said, query)]


def reads(said: str, query: str) -> bool:
    here = [word.text for word in words(said)]
    return all(_reads(here, term) for term in parse_query(query).terms)


def _reads(here: list[str], term: Term) -> bool:
    count = len(term.words)
    for begin in range(len(here) - count + 1):
        there = here[begin : begin + count]
        if term.open and there[-1].startswith(term.words[-1]):
            there[-1] = term.words[-1]
        if tuple(there) == term.words:
            return True
    return False


async def test_questions_and_answers_are_found_and_system_turns_are_not(chat: Chat) -> None:
    history = [
        Turn("system", "needle rules"),
        Turn("user", "needle 1"),
        Turn("assistant", "needle 2"),
    ]
    begun = await chat.store.begin_ask(
        Ask(chat.user_id, "needle 3", history=history), chat.choose, "me"
    )
    assert isinstance(begun, Begun)
    assert await found(chat, "needle") == ["needle 1", "needle 2", "needle 3"]
    await answer(chat, begun.generation, "needle 4")
    await answer(chat, begun.generation, "needle of an end too late")
    assert await found(chat, "needle") == ["needle 1", "needle 2", "needle 3", "needle 4"]


async def test_an_answer_is_found_as_far_as_a_crash_has_left_it(chat: Chat) -> None:
    generation = await say(chat, ["question"])
    await chat.store.begin_epoch(generation.id, 1, Fitted(1))
    await chat.store.checkpoint([Checkpoint(generation.id, 1, Position(1, 1), "half a needle")])
    await chat.store.interrupt_left_running(unpriced)
    assert await found(chat, "needle") == ["half a needle"]


async def test_branches_that_are_not_active_are_found_too(chat: Chat) -> None:
    first = await say(chat, ["first needle"])
    await answer(chat, first, "needle answer")
    session = SessionRef(id=first.session_id)
    edited = await chat.store.begin_ask(
        Ask(chat.user_id, "edited needle", session, edits=first.user_message_id), chat.choose, "me"
    )
    assert isinstance(edited, Begun)
    await answer(chat, edited.generation, "")
    again = await chat.store.begin_ask(
        Ask(chat.user_id, "", session, regenerates=first.message_id), chat.choose, "me"
    )
    assert isinstance(again, Begun)
    await answer(chat, again.generation, "needle again")
    assert await found(chat, "needle") == [
        "first needle",
        "needle answer",
        "edited needle",
        "needle again",
    ]


async def test_sessions_that_no_list_shows_are_not_found(chat: Chat) -> None:
    generation = await say(chat, ["hidden needle"], stateless=True)
    await answer(chat, generation, "hidden needle answer")
    await chat.indexing.catch_up()
    async with chat.database.read() as connection:
        kept = await connection.scalar(select(func.count()).select_from(SearchDocumentRow))
    assert kept == 0


async def test_others_find_only_what_is_theirs(chat: Chat) -> None:
    bo = await another(chat)
    await say(chat, ["needle of ana"])
    await say(chat, ["needle of bo"], bo)
    assert await found(chat, "needle") == ["needle of ana"]
    assert await found(chat, "needle", bo) == ["needle of bo"]
    for query in (bo.replace("-", ""), f"@{bo.replace('-', '')}", f"owner:{bo}", '"of bo"'):
        assert await found(chat, query) == []


async def test_a_title_is_found_until_there_is_another(chat: Chat) -> None:
    session_id = (await say(chat, ["question"])).session_id

    async def titled(title: str | None) -> None:
        async with chat.database.write() as connection:
            which = SessionRow.id == session_id
            await connection.execute(update(SessionRow).where(which).values(title=title))
            await indexing.mark(connection, chat.user_id, session_id, {None: title or ""})

    await titled("Viagem a Lisboã")
    assert await matches(chat, "lisboa") == [Match(None, "Viagem a <mark>Lisboã</mark>")]
    assert await matches(chat, "lisboa question") == []
    await titled("Porto")
    assert await matches(chat, "lisboa") == []
    assert await matches(chat, "porto") == [Match(None, "<mark>Porto</mark>")]
    await titled(None)
    assert await matches(chat, "porto") == []


async def test_the_newest_matches_of_a_session_are_shown_behind_its_title(chat: Chat) -> None:
    session_id = (await say(chat, [f"needle {number}" for number in range(9)])).session_id
    async with chat.database.write() as connection:
        await connection.execute(update(SessionRow).values(title="A needle"))
        await indexing.mark(connection, chat.user_id, session_id, {None: "A needle"})
    shown = [match.snippet for match in await matches(chat, "needle", most=3)]
    assert shown == [
        "A <mark>needle</mark>",
        "<mark>needle</mark> 8",
        "<mark>needle</mark> 7",
        "<mark>needle</mark> 6",
    ]


async def test_deep_in_a_long_answer_it_is_found_and_shown(chat: Chat) -> None:
    filler = "palavra " * 20_000
    generation = await say(chat, ["q"])
    await answer(chat, generation, f"{filler}uma agulha rara aqui {filler}" + "fim")
    for query in ("agulha", '"uma agulha"', '"palavra uma"', '"aqui palavra"', "agulha rara"):
        [match] = await matches(chat, query)
        assert match.snippet.startswith("…palavra ")
        assert match.snippet.endswith("palavra…")
    assert len(await matches(chat, "palavra")) == 1


async def test_what_is_behind_the_searched_beginning_is_not_found(chat: Chat) -> None:
    generation = await say(chat, ["q"])
    await answer(chat, generation, f"near {'é ' * SEARCHED_CHARACTERS} far")
    assert len(await matches(chat, "near")) == 1
    assert await matches(chat, "far") == []


async def test_as_many_different_words_as_a_text_can_have_are_kept(chat: Chat) -> None:
    generation = await say(chat, ["q"])
    said = " ".join(f"{number:x}{'ж' * 34}" for number in range(5000))
    await answer(chat, generation, said)
    assert len(await matches(chat, f"{4999:x}{'ж' * 34}")) == 1


async def test_what_is_deleted_is_found_no_more_and_the_index_is_whole(chat: Chat) -> None:
    bo = await another(chat)
    gone = await say(chat, ["needle one", "needle two"])
    await say(chat, ["needle three"])
    await say(chat, ["needle of bo"], bo)
    async with chat.database.write() as connection:
        await connection.execute(delete(MessageRow).where(MessageRow.id == gone.message_id))
        await connection.execute(delete(MessageRow).where(MessageRow.id == gone.user_message_id))
    assert await found(chat, "needle") == ["needle one", "needle three"]
    async with chat.database.write() as connection:
        await connection.execute(delete(SessionRow).where(SessionRow.id == gone.session_id))
    assert await found(chat, "needle") == ["needle three"]
    await SqlAccountStore(chat.database).delete_user(bo)
    async with chat.database.write() as connection:
        owners = select(SearchDocumentRow.owner).distinct()
        assert [*await connection.scalars(owners)] == [chat.user_id.replace("-", "")]
        if connection.dialect.name == "sqlite":
            await connection.execute(
                text("INSERT INTO search_index(search_index, rank) VALUES ('integrity-check', 1)")
            )
