"""Compressed RTF, as Outlook keeps the bodies of mails (MS-OXRTFCP)."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<IIII")  # bytes that follow the first number, bytes unpacked, kind, checksum
_PACKED, _PLAIN = 0x75465A4C, 0x414C454D  # "LZFu", "MELA"
_WINDOW = 4096
_KNOWN = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par"
    b" \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""What stands in the window before the first byte."""


def unpacked(data: bytes) -> bytes:
    """The RTF. Raises ValueError for what is none; what is cut short gives what is there."""
    if len(data) < _HEADER.size:
        raise ValueError("no header")
    _, size, kind, _ = _HEADER.unpack_from(data)
    if kind == _PLAIN:
        return data[_HEADER.size : _HEADER.size + size]
    if kind != _PACKED:
        raise ValueError("packed in an unknown way")
    return _expanded(data)


def _expanded(data: bytes) -> bytes:
    found = bytearray(_KNOWN)  # the window is its end
    at, end = _HEADER.size, len(data)
    while at < end:
        control, at = data[at], at + 1
        for bit in range(8):
            if not control >> bit & 1:
                found += data[at : at + 1]
                at += 1
                continue
            token = int.from_bytes(data[at : at + 2], "big")
            at += 2
            back = (len(found) - (token >> 4)) % _WINDOW
            if at > end or not back:  # a reference to the place that is written next ends it
                return bytes(found[len(_KNOWN) :])
            for _ in range((token & 15) + 2):
                found.append(found[-back] if back <= len(found) else 0)
    return bytes(found[len(_KNOWN) :])
