"""Messages are a tree: whatever is asked again or instead grows a branch, and nothing is lost."""

from provider import Answer
from talking import SESSIONS, Talker
from wire import NOBODYS_ID, House


def prompt(house: House) -> list[str]:
    """What the provider was asked last, but for what is the system's."""
    asked = house.provider.asks[-1].body["messages"]
    return [message["content"] for message in asked if message["role"] != "system"]


def test_a_regenerated_answer_stands_beside_the_old_one(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    again = ada.regenerate("s", first["message_id"], "eins")
    assert again["user_message_id"] == first["user_message_id"]
    assert again["message_id"] != first["message_id"]
    assert ada.texts("s") == ["one", "eins"]
    assert ada.texts("s", tree=True) == ["one", "1", "eins"]
    assert prompt(ada.house) == ["one"]


def test_a_question_too_can_be_answered_again_by_its_own_id(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    ada.regenerate("s", first["user_message_id"], "eins")
    assert ada.texts("s") == ["one", "eins"]


def test_an_edited_question_grows_a_branch_with_its_answer(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    second = ada.say("two", "s", "2")
    ada.say("three", "s", "3")
    ada.edit("s", second["user_message_id"], "zwei", "II")
    assert ada.texts("s") == ["one", "1", "zwei", "II"]
    assert sorted(ada.texts("s", tree=True)) == sorted(
        ["one", "1", "two", "2", "three", "3", "zwei", "II"]
    )
    assert prompt(ada.house) == ["one", "1", "zwei"]
    ada.say("four", "s", "4")
    assert prompt(ada.house) == ["one", "1", "zwei", "II", "four"]
    parents = {m["content"]: m["parent_id"] for m in ada.messages("s", tree=True)}
    assert parents["zwei"] == parents["two"] == first["message_id"]


def test_the_first_question_can_be_edited_too(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    ada.edit("s", first["user_message_id"], "eins", "I")
    assert ada.texts("s") == ["eins", "I"]
    assert prompt(ada.house) == ["eins"]
    assert ada.texts("s", tree=True) == ["one", "eins", "1", "I"]


def test_any_branch_can_be_made_the_active_one_and_asked_on(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    second = ada.say("two", "s", "2")
    ada.regenerate("s", first["message_id"], "eins")
    chosen = ada.ok("PUT", f"{SESSIONS}/s/branch", {"message_id": second["message_id"]})
    assert chosen["last_message_id"] == second["message_id"]
    assert ada.texts("s") == ["one", "1", "two", "2"]
    ada.say("three", "s", "3")
    assert prompt(ada.house) == ["one", "1", "two", "2", "three"]


def test_a_message_further_up_stands_for_the_newest_leaf_below_it(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    second = ada.say("two", "s", "2")
    newest = ada.regenerate("s", second["message_id"], "zwei")
    ada.regenerate("s", first["message_id"], "eins")
    chosen = ada.ok("PUT", f"{SESSIONS}/s/branch", {"message_id": first["message_id"]})
    assert chosen["last_message_id"] == newest["message_id"]
    assert ada.texts("s") == ["one", "1", "two", "zwei"]


def test_branches_of_branches_are_read_right_page_by_page(ada: Talker) -> None:
    asked = [ada.say(f"q{number}", "s", f"a{number}") for number in range(6)]
    for number in (4, 2, 3, 1):
        ada.regenerate("s", asked[number]["message_id"], f"b{number}")
        ada.say(f"on{number}", "s", f"behind{number}")
    expected = ["q0", "a0", "q1", "b1", "on1", "behind1"]
    assert ada.texts("s") == expected
    for limit in (1, 2, 3, 5):
        assert ada.texts("s", limit=limit) == expected
    whole = ada.messages("s", tree=True)
    assert len(whole) == 12 + 4 * 3
    for limit in (1, 7):
        assert ada.messages("s", tree=True, limit=limit) == whole
    seen = {None}
    for message in whole:
        assert message["parent_id"] in seen
        seen.add(message["message_id"])


def test_pages_of_a_branch_hold_to_it_while_another_becomes_active(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    ada.say("two", "s", "2")
    page = ada.ok("GET", f"{SESSIONS}/s/messages", limit=2)
    ada.regenerate("s", first["message_id"], "eins")
    rest = ada.ok("GET", f"{SESSIONS}/s/messages", cursor=page["next_cursor"])
    assert [message["content"] for message in rest["messages"]] == ["two", "2"]


def test_a_cursor_of_another_session_shows_nothing_of_it(ada: Talker, bob: Talker) -> None:
    ada.say("secret", "s", "1")
    cursor = ada.ok("GET", f"{SESSIONS}/s/messages", limit=1)["next_cursor"]
    leaf = cursor.partition(".")[0]
    bob.say("mine", "s", "1")
    for stolen in (cursor, f"{leaf}.0"):
        page = bob.ok("GET", f"{SESSIONS}/s/messages", cursor=stolen)
        assert "secret" not in str(page)
    bob.refused(422, "invalid_request", "GET", f"{SESSIONS}/s/messages", cursor="x")


def test_an_answer_is_delivered_as_chat_does_in_every_way(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    path = f"{SESSIONS}/s/messages/{first['message_id']}/regenerate"
    ada.house.provider.answer("test", Answer(["2", "3"]))
    streamed = ada.call("POST", path, {"stream": True})
    assert streamed.text.endswith("data: 2\n\ndata: 3\n\ndata: [DONE]\n\n")
    accepted = ada.call("POST", path, {"background": True})
    assert accepted.status_code == 202
    ada.house.settle()
    assert ada.ok("GET", f"/api/generations/{accepted.json()['generation_id']}")["text"] == "23"
    key = {"client_message_id": "again"}
    once = ada.ok("POST", path, key)
    assert ada.ok("POST", path, key)["generation_id"] == once["generation_id"]
    ada.refused(
        409, "idempotency_conflict", "POST", "/chat", {"message": "one", "session_id": "s", **key}
    )
    assert len(ada.texts("s", tree=True)) == 1 + 4


def test_what_is_no_question_is_not_edited_and_what_answers_none_not_regenerated(
    ada: Talker,
) -> None:
    first = ada.say("one", "s", "1")
    path = f"{SESSIONS}/s/messages"
    ada.refused(409, "conflict", "POST", f"{path}/{first['message_id']}/edit", {"content": "x"})
    history = [
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": "Hello"},
    ]
    ada.house.provider.answer("test", Answer(["Hi"]))
    ada.ok("POST", "/chat", {"messages": history, "session_id": "t"})
    welcome = ada.messages("t")[0]["message_id"]
    ada.refused(409, "conflict", "POST", f"{SESSIONS}/t/messages/{welcome}/regenerate")


def test_an_edit_without_a_word_is_refused_by_its_field(ada: Talker) -> None:
    question = ada.say("one", "s", "1")["user_message_id"]
    path = f"{SESSIONS}/s/messages/{question}/edit"
    refused = ada.refused(422, "invalid_request", "POST", path, {"content": " "})
    assert [fault["field"] for fault in refused["errors"]] == ["content"]


def test_an_empty_question_of_a_history_is_not_answered_but_can_be_edited(ada: Talker) -> None:
    turns = [("user", ""), ("assistant", "1"), ("user", ""), ("assistant", "2"), ("user", "three")]
    history = [{"role": role, "content": content} for role, content in turns]
    ada.house.provider.answer("test", Answer(["3"]))
    ada.ok("POST", "/chat", {"messages": history, "session_id": "s"})
    asked = len(ada.house.provider.asks)
    for message in ada.messages("s")[:4]:
        path = f"{SESSIONS}/s/messages/{message['message_id']}/regenerate"
        ada.refused(409, "conflict", "POST", path, {})
    assert len(ada.house.provider.asks) == asked
    ada.edit("s", ada.messages("s")[2]["message_id"], "two", "II")
    assert ada.texts("s") == ["", "1", "two", "II"]


def test_a_message_of_another_session_is_unknown(ada: Talker, bob: Talker) -> None:
    first = ada.say("one", "s", "1")
    ada.say("other", "t", "1")
    bob.say("his", "s", "1")
    for talker, session, message_id in (
        (ada, "t", first["message_id"]),
        (bob, "s", first["message_id"]),
        (ada, "s", NOBODYS_ID),
        (ada, "s", "x"),
        (ada, "s", "%00"),
    ):
        path = f"{SESSIONS}/{session}/messages/{message_id}"
        seen = [
            talker.refused(404, "not_found", "POST", f"{path}/regenerate")["detail"],
            talker.refused(404, "not_found", "POST", f"{path}/edit", {"content": "x"})["detail"],
            talker.refused(404, "not_found", "PUT", f"{path}/reaction", {"rating": 1})["detail"],
        ]
        if "%" not in message_id:
            branch = {"message_id": message_id}
            refused = talker.refused(
                404, "not_found", "PUT", f"{SESSIONS}/{session}/branch", branch
            )
            seen.append(refused["detail"])
        assert set(seen) == {"There is no such message in this session."}


def test_while_an_answer_is_made_nothing_else_is(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    ada.house.provider.answer("gated", Answer(["a", "b"], gate_after=1))
    ada.ok(
        "POST",
        "/chat",
        {"message": "wait", "session_id": "s", "model": "chat/gated", "background": True},
    )
    path = f"{SESSIONS}/s/messages/{first['message_id']}/regenerate"
    assert ada.refused(409, "busy", "POST", path)["abort_url"]
    ada.ok("PUT", f"{SESSIONS}/s/branch", {"message_id": first["message_id"]})
    ada.house.provider.release()
    ada.house.settle()
    ada.house.provider.hold()
    assert ada.texts("s", tree=True)[-1] == "ab"
    assert ada.texts("s") == ["one", "1", "wait", "ab"]
