"""Which encoding a file is in that is neither UTF-8 nor says so by a mark."""

from __future__ import annotations

import codecs

AUTO = "auto"
_SAMPLE_BYTES = 1 << 18
_LOOKED_AT = 4096
_MANY, _FEW = 0.3, 0.02
_ALIKE = 0.01
_COMMON = ("cp1252", "cp1250", "cp1251", "iso8859_2", "cp932", "euc_jp", "gb18030", "big5", "cp949")


def encoding_called(name: str) -> str | None:
    """The one name of an encoding, whichever of its names is given; None if there is none of text."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    return found.name if getattr(found, "_is_text_encoding", True) else None


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
    from charset_normalizer import from_bytes

    sample = data if len(data) <= _SAMPLE_BYTES else data[: data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1]
    found = list(from_bytes(sample or data[:_SAMPLE_BYTES]))
    if not found:
        return None
    # Many that differ in a few letters look alike in a short text: then it is the one that most files are in.
    alike = {each.encoding for each in found if each.chaos <= found[0].chaos + _ALIKE}
    common = [name for name in _COMMON if name in alike]
    for name in dict.fromkeys((*common, *(each.encoding for each in found))):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    return None
