"""PDFs made by hand: pages of lines in Helvetica, with an outline, a title, a password."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
_ID = b"0123456789abcdef"
_MAY = 0xFFFFFFFC
Cipher = Callable[[int, bytes], bytes]


def pdf(
    pages: Sequence[Sequence[str]],
    *,
    outline: Sequence[tuple[str, int]] = (),
    title: str = "",
    author: str = "",
    password: str | None = None,
) -> bytes:
    """A document. `outline`: (title, page from 0), all of one level. `password`: without it nothing can be read."""
    seal, encrypt = (lambda _number, data: data), b""
    if password is not None:
        seal, encrypt = _sealed(password)
    objects: dict[int, bytes] = {3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"}
    first = 10
    kids = [first + 2 * at for at in range(len(pages))]
    for number, lines in zip(kids, pages, strict=True):
        drawn = (
            b"BT /F1 12 Tf 72 740 Td 14 TL " + b" ".join(b"(%s) '" % _told(line) for line in lines) + b" ET"
        )
        drawn = seal(number + 1, drawn)
        objects[number + 1] = b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn)
        objects[number] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (number + 1)
        )
    objects[2] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (
        len(pages),
        b" ".join(b"%d 0 R" % each for each in kids),
    )
    objects[1] = b"<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>"
    objects[5] = b"<<%s%s>>" % tuple(
        b"/%s(%s)" % (name, _told(value)) if value and password is None else b""
        for name, value in ((b"Title", title), (b"Author", author))
    )
    entries = [first + 2 * len(pages) + at for at in range(len(outline))]
    for at, (name, page) in enumerate(outline):
        after = b"/Next %d 0 R" % entries[at + 1] if at + 1 < len(entries) else b""
        objects[entries[at]] = b"<</Title(%s)/Parent 4 0 R/Dest[%d 0 R/Fit]%s>>" % (
            _told(name),
            kids[page],
            after,
        )
    objects[4] = (
        b"<</First %d 0 R/Last %d 0 R/Count %d>>" % (entries[0], entries[-1], len(entries))
        if entries
        else b"<<>>"
    )
    if encrypt:
        objects[6] = encrypt
    return _written(objects, encrypted=bool(encrypt))


def _told(line: str) -> bytes:
    return line.encode("latin-1").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _written(objects: dict[int, bytes], *, encrypted: bool) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n"), {}
    for number, body in sorted(objects.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    size = max(objects) + 1
    rows = [
        b"%010d 00000 n \n" % places[at] if at in places else b"0000000000 65535 f \n" for at in range(size)
    ]
    out += b"xref\n0 %d\n%s" % (size, b"".join(rows))
    more = b"/Encrypt 6 0 R/ID[<%s><%s>]" % ((_ID.hex().encode(),) * 2) if encrypted else b""
    return bytes(
        out + b"trailer<</Size %d/Root 1 0 R/Info 5 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, more, table)
    )


def _sealed(password: str) -> tuple[Cipher, bytes]:
    """The cipher of the standard handler of 1994, and its dictionary."""
    padded = (password.encode() + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    key = hashlib.md5(padded + owner + _MAY.to_bytes(4, "little") + _ID).digest()[:5]
    user = _rc4(key, _PADDING)

    def seal(number: int, data: bytes) -> bytes:
        return _rc4(hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10], data)

    return seal, b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P %d>>" % (
        owner.hex().encode(),
        user.hex().encode(),
        _MAY - (1 << 32),
    )


def _rc4(key: bytes, data: bytes) -> bytes:
    box, j = list(range(256)), 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)
