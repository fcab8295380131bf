"""What makes two questions the same: what is asked, and nothing of how it is delivered."""

import subprocess
import sys
from dataclasses import replace

import pytest

from runnel.chat.entities import Ask, AskKey, Params, SessionRef, Turn
from runnel.chat.fingerprint import fingerprint

ASK = Ask(
    user_id="ana",
    text="why?",
    session=SessionRef(name="s"),
    history=[Turn("system", "be kind"), Turn("user", "a"), Turn("assistant", "b")],
    model="chat/test",
    params=Params(0.5, 0.25, 7, 1, ("x", "y"), json_mode=True),
)
OTHERS = [
    replace(ASK, text="why"),
    replace(ASK, text="why? "),
    replace(ASK, text="WHY?"),
    replace(ASK, session=SessionRef()),
    replace(ASK, history=None),
    replace(ASK, history=[]),
    replace(ASK, history=[Turn("system", "be kind"), Turn("user", "a")]),
    replace(ASK, history=[Turn("system", "be kind"), Turn("assistant", "b"), Turn("user", "a")]),
    replace(ASK, history=[Turn("user", "be kind"), Turn("user", "a"), Turn("assistant", "b")]),
    replace(ASK, history=[Turn("system", "be kin"), Turn("user", "da"), Turn("assistant", "b")]),
    replace(ASK, model=None),
    replace(ASK, model="test"),
    replace(ASK, params=Params()),
    replace(ASK, params=replace(ASK.params, temperature=0.25)),
    replace(ASK, params=replace(ASK.params, temperature=None)),
    replace(ASK, params=replace(ASK.params, temperature=0.25, top_p=0.5)),
    replace(ASK, params=replace(ASK.params, max_tokens=1, seed=7)),
    replace(ASK, params=replace(ASK.params, seed=None)),
    replace(ASK, params=replace(ASK.params, stop=("y", "x"))),
    replace(ASK, params=replace(ASK.params, stop=("xy",))),
    replace(ASK, params=replace(ASK.params, stop=())),
    replace(ASK, params=replace(ASK.params, json_mode=False)),
]


def test_whatever_is_asked_otherwise_is_another_question() -> None:
    prints = [fingerprint(ask) for ask in (ASK, *OTHERS)]
    assert len(set(prints)) == len(prints)
    assert {len(print_) for print_ in prints} == {64}


@pytest.mark.parametrize(
    "ask",
    [
        replace(ASK, needs_reader=True),
        replace(ASK, origin="a connection", whole=True),
        replace(ASK, session=SessionRef(id="s")),  # which one, the key tells
        replace(ASK, key=AskKey("k", "whatever")),
        replace(ASK, history=tuple(ASK.history or ())),
        replace(ASK, params=replace(ASK.params, stop=["x", "y"])),
    ],
    ids=["needs_reader", "origin", "session", "key", "tuple", "list"],
)
def test_what_is_asked_alike_is_the_same_question(ask: Ask) -> None:
    assert fingerprint(ask) == fingerprint(ASK)


@pytest.mark.parametrize("text", ["é😀\u2028", '"},"model":"x', "\\u0000", "a" * 100_000])
def test_any_text_has_a_fingerprint_of_its_own(text: str) -> None:
    other = replace(ASK, text=text)
    assert fingerprint(other) == fingerprint(replace(ASK, text=text))
    assert fingerprint(other) != fingerprint(replace(ASK, text=text[:-1]))


def test_it_is_the_same_in_every_process() -> None:
    # Keys outlive the server that took them.
    code = (
        "from runnel.chat.entities import *; from runnel.chat.fingerprint import fingerprint;"
        "print(fingerprint(Ask('ana', 'why?', params=Params(stop=('x', 'y')))))"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONHASHSEED": "12345"}
    elsewhere = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=50
    ).stdout.strip()
    assert elsewhere == fingerprint(Ask("ana", "why?", params=Params(stop=("x", "y"))))


def test_a_key_is_of_its_session_however_that_is_called() -> None:
    for session in (SessionRef(), SessionRef(id="1"), SessionRef(name="s")):
        assert AskKey("k", session=session).is_of("1", "s")
    for session in (SessionRef(id="2"), SessionRef(name="t"), SessionRef(id="s")):
        assert not AskKey("k", session=session).is_of("1", "s")
    assert not AskKey("k", session=SessionRef(name="s")).is_of("1", None)
