"""Which encoding a file is in that is neither UTF-8 nor says so by a mark."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Sequence

AUTO = "auto"
_SAMPLE_BYTES = 1 << 18
_LOOKED_AT = 4096
_MANY, _FEW = 0.3, 0.02
_ALIKE = 0.01
_COMMON = ("cp1252", "cp1250", "cp1251", "iso8859_2", "cp932", "euc_jp", "gb18030", "big5", "cp949")

_IN_FACT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
"""What pages and mails that name the left one are in, as browsers read them (WHATWG Encoding Standard)."""
_UNKNOWN = {
    "windows-31j": "cp932",
    "x-sjis": "cp932",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "x-cp1252": "cp1252",
}
"""Labels in that standard that Python does not know."""


def encoding_called(name: str) -> str | None:
    """The one name of an encoding, whichever of its names is given; None if there is none of text."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    return found.name if getattr(found, "_is_text_encoding", True) else None


def labelled(data: bytes, label: str) -> str:
    """The text of bytes that a page or a mail says to be in the encoding of this label. Raises LookupError for a label
    of none, UnicodeDecodeError."""
    name = encoding_called(_UNKNOWN.get(label.lower(), label))
    if name is None:
        raise LookupError(label)
    name = _IN_FACT.get(name, name)
    if name.startswith(("cp125", "cp874")):
        return codecs.charmap_decode(data, "strict", _of_windows(name))[0]
    return data.decode(name)


@functools.cache
def _of_windows(name: str) -> str:
    """Its characters. The standard has control characters for bytes below A0 that Windows has none for: what names
    Latin-1 and has one of these is read to its end."""
    told = (bytes((each,)).decode(name, "replace") for each in range(256))
    return "".join(
        ("\ufffe" if byte >= 0xA0 else chr(byte)) if char == "\ufffd" else char
        for byte, char in enumerate(told)
    )


def utf16_without_mark(data: bytes) -> str | None:
    """Which UTF-16 it is by its zero bytes: in one half of the bytes, as in any text with ASCII; None if none."""
    head = data[: _LOOKED_AT & ~1]
    half = len(head) // 2
    if len(data) % 2 or not half:
        return None
    even, odd = head[::2].count(0) / half, head[1::2].count(0) / half
    if odd >= _MANY and even <= _FEW:
        return "utf-16-le"
    return "utf-16-be" if even >= _MANY and odd <= _FEW else None


def guessed(data: bytes) -> str | None:
    """The text by the likeliest encoding in which all of it can be read; None if there is none."""
    return _first_text(data, _likely(data))


def guessed_of_part(data: bytes) -> str | None:
    """The likeliest encoding of a file of which this is a part: of those that say the same in it, the commonest."""
    likely = _likely(data)
    text = _first_text(data, likely)
    same = (name for name in (*_COMMON, *likely) if text_in(data, name) == text)
    return None if text is None else next(same)


def _first_text(data: bytes, encodings: Sequence[str]) -> str | None:
    return next(filter(None, (text_in(data, name) for name in encodings)), None)


def text_in(data: bytes, encoding: str) -> str | None:
    """The text in this encoding; None where it is not in it."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _likely(data: bytes) -> list[str]:
    """The encodings that it may be in, the likeliest first."""
    from charset_normalizer import from_bytes

    sample = data if len(data) <= _SAMPLE_BYTES else data[: data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1]
    found = list(from_bytes(sample or data[:_SAMPLE_BYTES]))
    # Many that differ in a few letters look alike in a short text: then it is the one that most files are in.
    alike = {each.encoding for each in found if each.chaos <= found[0].chaos + _ALIKE}
    common = [name for name in _COMMON if name in alike]
    return list(dict.fromkeys((*common, *(each.encoding for each in found))))
