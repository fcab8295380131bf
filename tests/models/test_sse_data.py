"""Events over a connection that cuts them anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel.models import sse_data
from runnel.models.sse_data import EventData, EventTooLongError

EVENTS: dict[str, tuple[bytes, list[bytes]]] = {
    "one": (b"data: a\n\n", [b"a"]),
    "several": (b"data: a\n\ndata: b\n\ndata: c\n\n", [b"a", b"b", b"c"]),
    "no space": (b"data:a\n\n", [b"a"]),
    "two spaces": (b"data:  a\n\n", [b" a"]),
    "two lines": (b"data: a\ndata: b\n\n", [b"a\nb"]),
    "other fields": (b"id: 1\nevent: x\nretry: 5\ndata: a\n\n", [b"a"]),
    "comments": (b": hello\n\n: hello\ndata: a\n\n:\n\n", [b"a"]),
    "a name that begins alike": (b"database: a\n\ndata: b\n\n", [b"b"]),
    "no data": (b"event: ping\n\ndata\n\ndata:\n\n", []),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\ndata: c\r\n\r\n", [b"a", b"b\nc"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed": (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    "many blank lines": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "a mark within": (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
    "an end that is missing": (b"data: a\n\ndata: b\n", [b"a"]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("name", EVENTS)
@given(cuts=st.data())
def test_however_it_is_cut_the_data_is_the_same(name: str, cuts: st.DataObject) -> None:
    sent, expected = EVENTS[name]
    places = sorted(cuts.draw(st.sets(st.integers(0, len(sent)))))
    events = EventData()
    found: list[bytes] = []
    for begin, end in zip([0, *places], [*places, len(sent)], strict=True):
        found += events.feed(sent[begin:end])
    # A CR at the very end is taken for a whole line's end only once more has come.
    found += events.feed(b"\n") if sent.endswith(b"\r") else []
    assert found == expected


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_data, "MOST_BYTES", 100)
    events = EventData()
    events.feed(b"data: " + b"x" * 90)
    with pytest.raises(EventTooLongError):
        events.feed(b"x" * 10)
