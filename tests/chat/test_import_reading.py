"""What is read back: strictly, a record at a time, and with the place of whatever is wrong."""

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any, Final, cast

import pytest
from typing_extensions import override

from runnel.chat.sessions import import_reading
from runnel.chat.sessions.import_reading import Given, read_export
from runnel.chat.sessions.records import MessageRecord, SessionRecord
from runnel.errors import Code, RunnelError

LINES: Final = (Path(__file__).parents[1] / "cli" / "export.jsonl").read_bytes()
MIB: Final = 1024 * 1024
Json = dict[str, Any]


def records() -> list[Json]:
    return [json.loads(line) for line in LINES.splitlines()]


def document() -> Json:
    """The same as one object."""
    header, session, *others = ([*each.items()] for each in records()[:-1])
    arrays: dict[str, list[Json]] = {"attachments": [], "messages": []}
    for kind, *fields in others:
        arrays[f"{kind[1]}s"].append(dict(fields))
    return dict(header) | {"sessions": [dict(session[1:]) | arrays]}


def lines(given: list[Json]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in given)


def read(export: bytes) -> list[Given]:
    return [*read_export(io.BytesIO(export))]


def fault(export: bytes) -> str:
    with pytest.raises(RunnelError) as refused:
        read(export)
    assert refused.value.code is Code.INVALID_REQUEST
    return refused.value.message


@pytest.mark.parametrize(
    "export",
    [
        json.dumps(document()).encode(),
        json.dumps(document(), indent=4).encode(),
        json.dumps(document(), ensure_ascii=False).encode("utf-8-sig"),
        b"\n " + json.dumps(document()).encode() + b"\n\n",
        LINES.replace(b"\n", b"\r\n"),
        LINES + b"\n\n",
        LINES.removesuffix(b"\n"),
        lines([dict(reversed([*each.items()])) for each in records()]),
    ],
    ids=[
        "one line",
        "indented",
        "marked",
        "spaced",
        "CRLF",
        "blank lines",
        "no break",
        "reordered",
    ],
)
def test_both_formats_are_known_by_their_content_however_they_are_spaced(export: bytes) -> None:
    assert [each.record for each in read(export)] == [each.record for each in read(LINES)]


def test_places_are_lines_or_numbers() -> None:
    assert [each.place for each in read(LINES)][:2] == ["line 2", "line 3"]
    assert [each.place for each in read(json.dumps(document()).encode())] == [
        "session 1",
        "session 1, attachment 1",
        *(f"session 1, message {number}" for number in range(1, 5)),
    ]


@pytest.mark.parametrize(
    ("index", "change", "said"),
    [
        (1, {"more": 1}, "line 2: more: is no field of it"),
        (1, {"session_id": "a"}, "line 2: session_id: String should match pattern"),
        (1, {"session_id": "01A21F32-0000-7000-8000-000000000001"}, "line 2: session_id: "),
        (1, {"settings": {}}, "line 2: settings.model_preference: is missing"),
        (1, {"started_at": "2026-01-31T12:00:00+02:00"}, "line 2: started_at: is a time in UTC"),
        (1, {"started_at": "2026-01-31T12:00:00"}, "line 2: started_at: is a time in UTC"),
        (1, {"title_by": "me"}, "line 2: title_by: "),
        (2, {"bytes": "7"}, "line 3: bytes: Input should be a valid integer"),
        (2, {"data": None}, "line 3: data: Input should be a valid string"),
        (3, {"role": "nobody"}, "line 4: role: "),
        (3, {"reactions": {"helpful": None, "rating": 6}}, "line 4: reactions.rating: "),
        (3, {"type": "note"}, "line 4: has a `type` that is none of"),
        (3, {"message_id": None}, "line 4: message_id: "),
    ],
)
def test_a_record_that_is_not_as_it_was_exported_is_refused_with_its_place(
    index: int, change: Json, said: str
) -> None:
    changed = records()
    changed[index] |= change
    assert fault(lines(changed)).startswith(said)


def test_a_fault_in_a_document_has_its_place_too() -> None:
    changed = document()
    changed["sessions"][0]["messages"][1]["generation"]["status"] = "done"
    said = fault(json.dumps(changed).encode())
    assert said.startswith("session 1, message 2: generation.status: ")


def test_params_that_could_not_be_exported_again_are_refused() -> None:
    changed = records()
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    changed[4]["generation"]["params"] = deep
    assert fault(lines(changed)).startswith("line 5: ")
    whole = document()
    whole["sessions"][0]["messages"][1]["generation"]["params"] = {"seed": 2**70}
    assert fault(json.dumps(whole).encode()).startswith("session 1, message 2: ")


@pytest.mark.parametrize(
    "foreign",
    [b"", b"\n", b"[]", b"{}", b"7", b'{"sessions": []}', b"PK\x03\x04", b'{"mapping": {}}\n{}\n'],
)
def test_what_is_no_export_is_told_apart(foreign: bytes) -> None:
    assert fault(foreign).startswith("the beginning: ")


@pytest.mark.parametrize("export", [b'{"runnel_export":2}\n', b'{"runnel_export": 2, "a": 1}'])
def test_a_newer_format_is_named(export: bytes) -> None:
    assert "format 2, and this version of Runnel reads 1" in fault(export)


def test_a_cut_file_never_passes_for_a_whole_one() -> None:
    whole = json.dumps(document()).encode()
    for export in (LINES, whole):
        step = max(1, len(export) // 150)
        for end in range(0, len(export) - 1, step):
            assert fault(export[:end]), export[:end]
    between = LINES.index(b'{"type":"end"}')
    assert "the file is cut" in fault(LINES[:between])


def test_what_stands_behind_the_end_is_refused() -> None:
    assert "behind the end" in fault(LINES + LINES)
    assert fault(json.dumps(document()).encode() * 2)


def test_fields_of_a_session_behind_its_messages_are_refused() -> None:
    changed = document()
    changed["sessions"][0]["title"] = changed["sessions"][0].pop("title")
    assert fault(json.dumps(changed).encode()).startswith("session 1: title: is missing (a session")
    changed["sessions"][0]["more"] = 1
    changed["sessions"][0]["title"] = changed["sessions"][0].pop("title")
    assert "a session's fields stand before" in fault(json.dumps(changed).encode())


@pytest.mark.parametrize("number", [b"9" * 5000, b"-" + b"9" * 5000, b"1e99999999999999999999"])
@pytest.mark.parametrize(
    "beginning", [b'{"runnel_export":', b'{"runnel_export":1,"sessions":[{"session_id":']
)
def test_a_number_that_no_record_has_is_a_fault_of_the_file(
    beginning: bytes, number: bytes
) -> None:
    assert "too large" in fault(beginning + number)


@pytest.mark.parametrize("said", ["9" * 70_000, '\\"' * 33_000 + ":" + "9" * 70_000, "\\" * 65_531])
def test_a_text_may_be_nothing_but_digits(said: str) -> None:
    changed = document()
    changed["sessions"][0]["messages"][0]["content"] = said
    [_, _, message, *_] = read(json.dumps(changed).encode())
    assert isinstance(message.record, MessageRecord)
    assert message.record.content == said


def test_what_a_fault_tells_of_a_file_is_short_and_drives_no_terminal() -> None:
    key = "\x1b[2J\n" * 1000
    changed = records()
    changed[1][key] = 1
    whole = document()
    whole[key] = 1
    for export in (lines(changed), json.dumps(whole).encode()):
        told = fault(export)
        assert told.isprintable()
        assert len(told) < 1000


@pytest.mark.parametrize("kind", [b"{}", b"[]", b"1", b"null"])
def test_a_kind_is_a_word(kind: bytes) -> None:
    assert "has a `type` that" in fault(b'{"runnel_export":1}\n{"type":' + kind + b"}\n")


@pytest.mark.parametrize("values", ["[]", "{}"])
def test_a_line_of_ever_so_many_values_is_not_unfolded(values: str) -> None:
    changed = records()
    changed[1]["title"] = "HERE"
    many = ",".join([values] * 700_000).encode()
    export = lines(changed).replace(b'"HERE"', b"[" + many + b"]")
    tracemalloc.start()
    try:
        assert "line 2: has more than" in fault(export)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MIB


def test_a_long_text_with_ever_so_many_commas_is_taken() -> None:
    changed = records()
    changed[3]["content"] = ",é" * 200_000
    [_, _, message, *_] = read(lines(changed))
    assert isinstance(message.record, MessageRecord)
    assert message.record.content == ",é" * 200_000


class Endless(io.RawIOBase):
    """Begins as it is told, and never comes to an end of the line. Counts what was read."""

    def __init__(self, beginning: bytes, piece: bytes) -> None:
        self._rest = beginning
        self._piece = piece
        self.given = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        self.given += count
        return count


@pytest.mark.parametrize(
    ("beginning", "piece", "said"),
    [
        (b'{"runnel_export":1}\n', b"x" * 65_536, "line 2: is longer than"),
        (b'{"runnel_export":1,"sessions":[{"title":"', b"x" * 65_536, "session 1: has more than"),
        (b'{"runnel_export":1,"sessions":[{"title":', b"[" * 65_536, "session 1: "),
        (b'{"runnel_export":1,"sessions":[{"title":[', b"1," * 32_768, "session 1: has more than"),
        (b'{"runnel_export":', b" " * 65_536, "the beginning: "),
    ],
    ids=["a line", "a text", "brackets", "numbers", "nothing"],
)
def test_a_record_without_an_end_is_given_up_within_bounds(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes, piece: bytes, said: str
) -> None:
    monkeypatch.setattr(import_reading, "MOST_BYTES", 2 * MIB)
    endless = Endless(beginning, piece)
    tracemalloc.start()
    try:
        with pytest.raises(RunnelError) as refused:
            for _ in read_export(cast("Any", io.BufferedReader(endless))):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.message.startswith(said)
    assert endless.given < 3 * MIB
    assert peak < 64 * MIB


def test_what_no_database_takes_becomes_a_sign_of_it() -> None:
    changed = records()
    changed[1]["title"] = "a\0b"
    (session, *_) = read(lines(changed))
    assert isinstance(session.record, SessionRecord)
    assert session.record.title == "a\ufffdb"
