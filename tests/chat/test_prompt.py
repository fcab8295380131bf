"""What of a history the model is given."""

from runnel.chat.entities import Turn
from runnel.chat.prompt import fit, whole
from runnel.chat.text import estimate_tokens
from runnel.events import ToolCall


def U(text: str) -> Turn:  # noqa: N802 - turns are read at a glance so
    return Turn("user", text)


def A(text: str) -> Turn:  # noqa: N802 - same
    return Turn("assistant", text)


def S(text: str) -> Turn:  # noqa: N802 - same
    return Turn("system", text)


def test_everything_that_fits_is_kept_in_order_after_the_servers_system_prompt() -> None:
    turns = [U("one"), A("two"), U("three")]
    assert fit(turns, system_prompt="be kind", max_tokens=1000).turns == [S("be kind"), *turns]


def test_the_newest_turns_stay_and_the_oldest_go() -> None:
    turns = [U("a" * 400), A("b" * 400), U("c" * 400)]
    assert fit(turns, system_prompt=None, max_tokens=220).turns == turns[1:]


def test_the_question_stays_even_if_it_alone_is_too_long() -> None:
    turns = [U("a"), A("b"), U("c" * 4000)]
    assert fit(turns, system_prompt="s", max_tokens=10).turns == [S("s"), turns[-1]]


def test_system_turns_stay_though_what_lies_between_them_goes() -> None:
    turns = [S("rule"), U("a" * 4000), A("b"), U("c")]
    assert fit(turns, system_prompt=None, max_tokens=50).turns == [S("rule"), A("b"), U("c")]


def test_system_turns_of_a_history_do_not_pass_the_budget() -> None:
    turns = [S("x" * 40_000), S("rule"), U("a"), A("b"), U("c")]
    assert fit(turns, system_prompt="s", max_tokens=50).turns == [S("s"), *turns[1:]]


def test_tokens_are_estimated_from_what_is_sent() -> None:
    prompt = fit([U("abcdefgh")], system_prompt="abcd", max_tokens=100)
    assert prompt.tokens == (2 + 4) + (1 + 4)
    assert estimate_tokens("€") == 1


def test_calls_of_tools_weigh_too() -> None:
    call = ToolCall(0, "c", "f", "x" * 400)
    turns = [Turn("user", "?"), Turn("assistant", "", tool_calls=[call]), Turn("tool", "y")]
    assert whole(turns, system_prompt=None).tokens == 1 + 101 + 1 + 3 * 4
