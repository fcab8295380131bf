"""Files over HTTP: what is taken and as what, what is not, and who is shown them."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx
import pytest

from given_files import (
    animated,
    attached,
    gif_of_comments,
    pdf,
    picture,
    png_that_claims,
    upload,
    webp_that_claims,
)
from runnel.errors import RunnelError
from runnel.files.kinds import Kinds
from runnel.files.pdf import PdfTexts
from serving import Signed
from wire import NOBODYS_ID, House, but_id, problem, query, refused_field

MOST: Final = 200_000
SETTINGS: Final = {
    "attachment_max_bytes": MOST,
    "attachment_max_pixels": 10_000,
    "attachment_max_characters": 50_000,
    "attachments_bytes_per_user": 1_000_000,
}
TOO_LARGE: Final = "payload_too_large"


def folder(house: House) -> Path:
    return house.server.settings.data_dir / "attachments"


def files_of(house: House, attachment_id: str) -> list[Path]:
    return sorted(folder(house).rglob(f"{attachment_id}*"))


def get(house: House, who: Signed, attachment_id: str, **headers: str) -> httpx.Response:
    return house.http.get(
        f"/api/attachments/{attachment_id}", headers={**who.headers, "Accept": "*/*", **headers}
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_is_taken_with_its_size(house: House, ada: Signed, kind: str) -> None:
    content = picture(kind, (30, 20))
    made = attached(house, ada, content, "a picture")
    assert made == {
        "attachment_id": made["attachment_id"],
        "name": "a picture",
        "media_type": f"image/{kind.lower()}",
        "bytes": len(content),
        "width": 30,
        "height": 20,
        "characters": None,
        "session_id": None,
        "created_at": made["created_at"],
    }
    shown = get(house, ada, made["attachment_id"])
    assert shown.content == content
    assert shown.headers["content-type"] == f"image/{kind.lower()}"
    assert shown.headers["content-disposition"].startswith("inline;")
    assert shown.headers["cache-control"] == "private"
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in shown.headers["content-security-policy"]


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_picture_that_moves_is_taken(house: House, ada: Signed, kind: str) -> None:
    made = attached(house, ada, animated(kind))
    assert (made["width"], made["height"]) == (4, 4)


TEXTS: Final[list[tuple[str, bytes, str, str]]] = [
    ("notes.md", b"# Notes\n", "text/markdown", "# Notes\n"),
    ("table.CSV", b"a,b\r\n1,2\r\n", "text/csv", "a,b\n1,2\n"),
    ("data.json", b'{"a": 1}', "application/json", '{"a": 1}'),
    ("plain.txt", "coração\f\ttab".encode(), "text/plain", "coração\f\ttab"),
    ("bom.txt", b"\xef\xbb\xbfbom", "text/plain", "bom"),
    ("wide.txt", "wíde".encode("utf-16"), "text/plain", "wíde"),
    ("wide.md", b"\xfe\xff" + "bíg".encode("utf-16-be"), "text/markdown", "bíg"),
    # Whatever a browser would make of them, to us they are texts.
    ("page.html", b"<script>alert(1)</script>", "text/plain", "<script>alert(1)</script>"),
    ("page.png", b"<html></html>", "text/plain", "<html></html>"),
    ("drawing.svg", b"<svg onload='x()'/>", "text/plain", "<svg onload='x()'/>"),
    ("noname", b"GIF89a is how a GIF begins", "text/plain", "GIF89a is how a GIF begins"),
]


@pytest.mark.parametrize("given", TEXTS)
def test_a_text_is_taken_as_a_text(
    house: House, ada: Signed, given: tuple[str, bytes, str, str]
) -> None:
    name, content, kind, text = given
    made = attached(house, ada, content, name)
    assert (made["media_type"], made["characters"]) == (kind, len(text))
    shown = get(house, ada, made["attachment_id"])
    assert shown.content == content
    assert shown.headers["content-type"].partition(";")[0] == kind
    assert shown.headers["content-disposition"].startswith("attachment;")
    if kind.startswith("text/"):
        assert shown.text.lstrip("\ufeff").replace("\r\n", "\n") == text


def test_a_pdf_is_taken_with_the_length_of_its_text(house: House, ada: Signed) -> None:
    content = pdf("Hello", "world")
    made = attached(house, ada, content, "not a picture.png")
    assert (made["media_type"], made["characters"]) == ("application/pdf", len("Hello\n\nworld"))
    shown = get(house, ada, made["attachment_id"])
    assert shown.content == content
    assert shown.headers["content-disposition"].startswith("attachment;")


def test_a_name_that_lies_is_not_believed(house: House, ada: Signed) -> None:
    assert attached(house, ada, picture("PNG"), "report.pdf")["media_type"] == "image/png"
    assert attached(house, ada, picture("GIF") + b"<script>", "x.html")["media_type"] == "image/gif"


REFUSED: Final[list[tuple[bytes, str]]] = [
    (b"", "empty"),
    (b" \n\t", "no text"),
    (b"\x7fELF\x02\x01\x01" + bytes(50), "none of them"),
    (b"PK\x03\x04" + bytes(50), "none of them"),
    (b"text with a \x00 in it", "none of them"),
    (b"text with an escape \x1b[0m", "none of them"),
    (b"latin-1: \xe7\xe3o", "none of them"),
    (b"BM" + bytes(60), "none of them"),
    (b"\xff\xfe\x00\xd8", "none of them"),  # half a pair in UTF-16
    (picture("PNG")[:20], "header is broken"),
    (picture("JPEG")[:12], "header is broken"),
    (picture("WEBP")[:20], "header is broken"),
    (b"GIF89a\x01", "header is broken"),
    (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, "header is broken"),
    (b"%PDF-1.4\nnothing", "cannot be read"),
]


@pytest.mark.parametrize(("content", "why"), REFUSED)
def test_what_is_no_picture_pdf_or_text_is_refused(
    house: House, ada: Signed, content: bytes, why: str
) -> None:
    assert why in refused_field(upload(house, ada, content, "a.png"), "file")


@pytest.mark.parametrize("size", [(101, 100), (65_535, 65_535), (2**31 - 1, 2**31 - 1)])
def test_a_picture_with_too_many_pixels_is_not_even_unpacked(
    house: House, ada: Signed, size: tuple[int, int]
) -> None:
    body = problem(upload(house, ada, png_that_claims(*size)), 413, TOO_LARGE, more={"errors"})
    assert f"{size[0]} × {size[1]}" in body["detail"]


def test_a_moving_picture_with_too_many_pixels_neither(house: House, ada: Signed) -> None:
    assert attached(house, ada, webp_that_claims(10, 10))["width"] == 10
    for size in ((101, 100), (16_383, 16_383), (2**24 - 1, 200)):
        problem(upload(house, ada, webp_that_claims(*size)), 413, TOO_LARGE, more={"errors"})


def test_a_picture_that_is_nothing_but_comments_is_not_read_to_its_end() -> None:
    kinds = Kinds(PdfTexts(seconds=1, max_characters=1), max_pixels=10_000, max_characters=50_000)
    content = gif_of_comments(2_000_000)
    began = time.monotonic()
    with pytest.raises(RunnelError, match="header is broken"):
        asyncio.run(kinds.examine("a.gif", io.BytesIO(content)))
    assert time.monotonic() - began < 2
    assert asyncio.run(kinds.examine("a.gif", io.BytesIO(gif_of_comments(1000)))).width == 1


def test_a_file_may_be_so_large_and_no_larger(house: House, ada: Signed) -> None:
    picture_bytes = picture()
    content = picture_bytes + bytes(MOST - len(picture_bytes))
    assert attached(house, ada, content)["bytes"] == MOST
    problem(upload(house, ada, content + b"\0"), 413, TOO_LARGE, more={"errors"})
    problem(upload(house, ada, content + bytes(100_000)), 413, TOO_LARGE)


def test_a_text_may_be_so_long_and_no_longer(house: House, ada: Signed) -> None:
    assert attached(house, ada, b"a" * 50_000)["characters"] == 50_000
    problem(upload(house, ada, b"a" * 50_001), 413, TOO_LARGE, more={"errors"})


def test_a_user_may_have_so_much_until_some_is_deleted(house: House, ada: Signed) -> None:
    content = picture() + bytes(150_000)
    made = [attached(house, ada, content) for _ in range(6)]
    body = problem(upload(house, ada, content), 413, TOO_LARGE, more={"errors"})
    assert "delete some" in body["detail"]
    house.http.delete(f"/api/attachments/{made[0]['attachment_id']}", headers=ada.headers)
    attached(house, ada, content)


NAMES: Final[list[tuple[str, str]]] = [
    ("../../etc/passwd", "passwd"),
    ("C:\\Users\\ana\\notas.txt", "notas.txt"),
    ("/", "file"),
    ("..", "file"),
    ("", "file"),
    ("a\u202etxt.exe", "atxt.exe"),
    ("relatório 'final' 報告.txt", "relatório 'final' 報告.txt"),
    ("x" * 300, "x" * 255),
]


@pytest.mark.parametrize(("given", "kept"), NAMES)
def test_a_name_is_a_name_and_no_path(house: House, ada: Signed, given: str, kept: str) -> None:
    # Written by hand: clients refuse to send, or put right, what others send.
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
        + given.replace("\\", "\\\\").encode()
        + b'"\r\n\r\ntext\r\n--b--\r\n'
    )
    made = _post_form(house, ada, body).json()
    assert made["name"] == kept
    [path] = files_of(house, made["attachment_id"])
    assert path.parent.parent == folder(house)
    assert path.name == made["attachment_id"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_name_goes_back_without_harm_to_the_headers(house: House, ada: Signed) -> None:
    made = attached(house, ada, b"text", 'a "quoted"\r\nSet-Cookie: x; 報告.txt')
    assert "\n" not in made["name"]
    shown = get(house, ada, made["attachment_id"])
    assert "set-cookie" not in shown.headers
    disposition = shown.headers["content-disposition"]
    assert disposition.count('"') == 2
    assert "filename*=UTF-8''" in disposition
    assert "%E5%A0%B1%E5%91%8A.txt" in disposition


def _post_form(house: House, who: Signed, body: bytes, kind: str | None = None) -> httpx.Response:
    headers = {"Content-Type": kind or "multipart/form-data; boundary=b", **who.headers}
    return house.http.post("/api/attachments", content=body, headers=headers)


def _part(name: str, *, file: bool = True) -> bytes:
    filename = '; filename="f"' if file else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\nx\r\n'.encode()


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"text", "text/plain", "multipart/form-data"),
        (b"{}", "application/json", "multipart/form-data"),
        (b"file=x", "application/x-www-form-urlencoded", "multipart/form-data"),
        (b"--b--\r\n", None, "no field `file`"),
        (_part("file") * 2 + b"--b--\r\n", None, "one file"),
        (_part("file") * 3 + b"--b--\r\n", None, "Too many files"),
        (_part("file") + _part("name", file=False) + b"--b--\r\n", None, "no other"),
        (_part("other") + b"--b--\r\n", None, "no other"),
        (_part("file", file=False) + b"--b--\r\n", None, "file name"),
        (b"no form at all", None, "Invalid multipart"),
        (b"x", "multipart/form-data", "boundary"),
        (
            _part("file") + b"--b--\r\n",
            "multipart/form-data; boundary=b; charset=undefined",
            "charset",
        ),
    ],
)
def test_a_form_of_another_kind_is_refused_and_says_why(
    house: House, ada: Signed, body: bytes, kind: str | None, why: str
) -> None:
    response = _post_form(house, ada, body, kind)
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    assert why in response.json()["detail"]


def test_what_is_known_of_a_file_is_told_to_who_asks_for_json(house: House, ada: Signed) -> None:
    made = attached(house, ada, b"text")
    path = made["attachment_id"]
    assert get(house, ada, path, Accept="application/json").json() == made
    for accept in ("application/json, */*", "image/*, application/json"):
        assert get(house, ada, path, Accept=accept).content == b"text"


def test_a_deleted_file_is_gone_from_the_disk_too(house: House, ada: Signed) -> None:
    made = attached(house, ada, pdf("text"))["attachment_id"]
    assert len(files_of(house, made)) == 2
    for status in (204, 404):
        response = house.http.delete(f"/api/attachments/{made}", headers=ada.headers)
        assert response.status_code == status
    assert not files_of(house, made)
    problem(get(house, ada, made), 404, "not_found")


def test_an_upload_that_races_with_its_accounts_end_leaves_no_file(
    house: House, ada: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is there before the files are looked for, and its file only behind that."""
    parts = house.server.server.parts
    user_id = house.http.get("/me", headers=ada.headers).json()["id"]
    before = sorted(folder(house).rglob("*"))

    async def race() -> BaseException | None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        write = parts.attachments._files.write

        async def held(attachment_id: str, file: BinaryIO, text: str | None) -> None:
            begun.set()
            await go_on.wait()
            await write(attachment_id, file, text)

        async def remove() -> None:
            go_on.set()
            await asyncio.wait([upload])
            await parts.accounts.delete(user_id)

        monkeypatch.setattr(parts.attachments._files, "write", held)
        upload = asyncio.create_task(parts.attachments.add(user_id, "a.txt", io.BytesIO(b"text")))
        await begun.wait()
        await parts.purging.purge_user(user_id, remove)
        return upload.exception()

    refused = house.server.call(race())
    assert isinstance(refused, RunnelError)
    files = [path for path in folder(house).rglob("*") if path.is_file()]
    assert set(files) <= set(before)


def test_what_is_anothers_does_not_exist(house: House, ada: Signed, bob: Signed) -> None:
    made = attached(house, ada, b"text")["attachment_id"]
    for method in ("GET", "DELETE"):
        answers: list[dict[str, Any]] = []
        for which in (made, NOBODYS_ID, "no-id", "..%2f..%2fjwt_secret"):
            response = house.http.request(
                method, f"/api/attachments/{which}", headers=bob.headers | {"Accept": "*/*"}
            )
            assert response.status_code == 404
            answers.append(but_id(response.json()))
        assert answers[0] == answers[1] == answers[2]
    assert get(house, ada, made).content == b"text"


def test_a_file_whose_bytes_are_lost_is_not_there(house: House, ada: Signed) -> None:
    made = attached(house, ada, b"text")["attachment_id"]
    files_of(house, made)[0].unlink()
    problem(get(house, ada, made), 404, "not_found")


def test_nothing_is_left_of_what_was_refused(house: House, ada: Signed) -> None:
    before = (
        sorted(folder(house).rglob("*.part")),
        len(query(house.server, "SELECT id FROM attachments")),
    )
    for content, _ in REFUSED:
        upload(house, ada, content)
    after = (
        sorted(folder(house).rglob("*.part")),
        len(query(house.server, "SELECT id FROM attachments")),
    )
    assert before == after


def test_nobody_uploads_without_signing_in(house: House) -> None:
    response = house.http.post("/api/attachments", files={"file": ("a.txt", b"text")})
    problem(response, 401, "unauthorized")
