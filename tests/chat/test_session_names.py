"""What a client's `session_id` means."""

import pytest

from runnel.chat.entities import SessionRef
from runnel.chat.sessions.refs import session_ref
from runnel.errors import Code, RunnelError

ID = "01A1FB08-E14F-77E3-81D7-A9311CCAA884"


def test_a_uuids_shape_is_an_id_in_either_case() -> None:
    assert session_ref(ID, "ana") == SessionRef(id=ID.lower())


@pytest.mark.parametrize("name", ["sessao-teste-1", "123", "a:b.c_d", "x" * 128, "anna"])
def test_anything_else_is_a_name(name: str) -> None:
    assert session_ref(name, "ana") == SessionRef(name=name)


def test_none_is_a_new_session() -> None:
    assert session_ref(None, "ana") == SessionRef()


@pytest.mark.parametrize("name", ["me", "ana", "ANA", "", "a b", "x" * 129, "ã", "a/b", "a\n"])
def test_unfit_names_are_refused_by_their_field(name: str) -> None:
    with pytest.raises(RunnelError) as refused:
        session_ref(name, "ana")
    assert (refused.value.code, refused.value.field) == (Code.INVALID_REQUEST, "session_id")
