"""Files as people, and those who mean ill, give them."""

import io
import struct
import zlib
from typing import Any

import httpx
from PIL import Image
from pypdf import PdfReader, PdfWriter

from serving import Signed
from wire import House


def picture(kind: str = "PNG", size: tuple[int, int] = (3, 2)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


def animated(kind: str) -> bytes:
    """A picture that moves."""
    file = io.BytesIO()
    first, *others = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    first.save(file, kind, save_all=True, append_images=others, duration=50)
    return file.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A picture of a few bytes that says that it is huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def webp_that_claims(width: int, height: int) -> bytes:
    """A picture that moves, of a few bytes, that says that it is huge."""
    still = picture("WEBP", (2, 2))[12:]

    def three(number: int) -> bytes:
        return struct.pack("<I", number)[:3]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data

    frame = three(0) * 2 + three(1) * 2 + three(50) + b"\0" + still
    canvas = bytes([2, 0, 0, 0]) + three(width - 1) + three(height - 1)
    body = chunk(b"VP8X", canvas) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame)
    return chunk(b"RIFF", b"WEBP" + body)


def gif_of_comments(count: int) -> bytes:
    """A picture that begins with ever so many comments."""
    picture_bytes = picture("GIF", (1, 1))
    header = 13 + 3 * 2 ** ((picture_bytes[10] & 7) + 1)  # with its table of colours
    return picture_bytes[:header] + b"\x21\xfe\x01a\x00" * count + picture_bytes[header:]


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text a page."""
    return pdf_drawn(*[f"BT /F1 12 Tf 72 720 Td ({page}) Tj ET".encode() for page in pages])


def pdf_drawn(*pages: bytes) -> bytes:
    """A PDF whose pages are drawn by these operators, packed."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {count} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, drawn in enumerate(pages):
        packed = zlib.compress(drawn, 9)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792]"
            b" /Resources << /Font << /F1 3 0 R >> >>"
            + f" /Contents {5 + 2 * number} 0 R >>".encode(),
            f"<< /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode()
            + packed
            + b"\nendstream",
        ]
    file = io.BytesIO()
    file.write(b"%PDF-1.4\n")
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(file.tell())
        file.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    begin = file.tell()
    file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    file.writelines(f"{place:010} 00000 n \n".encode() for place in places)
    file.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\n".encode())
    file.write(f"startxref\n{begin}\n%%EOF\n".encode())
    return file.getvalue()


def encrypted(content: bytes, password: str) -> bytes:
    """A PDF that is read with a password alone; with the empty one by everybody."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(content)))
    writer.encrypt(password, "the owner's", algorithm="AES-256")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def slow_pdf() -> bytes:
    """A small PDF whose text takes many seconds to draw."""
    return pdf_drawn(b"BT /F1 12 Tf (a) Tj ET\n" * 500_000)


def bomb_pdf() -> bytes:
    """A small PDF with a page that is huge when it is unpacked."""
    return pdf_drawn(bytes(300_000_000))


def upload(
    house: House, who: Signed, content: bytes, name: str = "file.txt", **more: Any
) -> httpx.Response:
    """The answer to one upload, whatever its status."""
    files = {"file": (name, content, "application/octet-stream")}
    return house.http.post("/api/attachments", files=files, headers=who.headers, **more)


def attached(house: House, who: Signed, content: bytes, name: str = "file.txt") -> dict[str, Any]:
    """What is told of a file that was taken."""
    response = upload(house, who, content, name)
    assert response.status_code == 201, response.text
    return response.json()
