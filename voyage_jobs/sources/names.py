"""File names are bytes; a document's `path` is text. This mapping between the two loses nothing.

Valid UTF-8 stays as it is, unnormalised: two names that differ only in Unicode form are two files. A byte
that is not part of valid UTF-8 becomes the code point U+10FF00 + byte, from the last private-use block, so
that every path can be stored, sent and compared as proper UTF-8 (the surrogates of `os.fsdecode` cannot). A
name that really contains one of U+10FF00..U+10FFFF has that character written byte by byte the same way,
hence no two names share a path.
"""

from __future__ import annotations

import os
import re
import shlex

_ESCAPE = 0x10FF00
_ESCAPE_RUN = re.compile(f"[{chr(_ESCAPE)}-{chr(_ESCAPE + 0xFF)}]+")
_NEEDS_ESCAPE = re.compile(f"[\udc80-\udcff{chr(_ESCAPE)}-{chr(_ESCAPE + 0xFF)}]")
_ESCAPE_LEAD = b"\xf4\x8f"  # the first two bytes of every character from U+10F000 on
_NEEDS_QUOTES = re.compile(r"[\s'\"\\$`;&|<>()*?\[\]{}!~]")  # what is a sign to a shell within a word
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def encode(os_name: bytes) -> str:
    """The path text of an operating-system name; always valid UTF-8, and `decode` gives the name back."""
    try:
        text = os_name.decode()
        if _ESCAPE_LEAD not in os_name:
            return text
    except UnicodeDecodeError:
        text = os_name.decode("utf-8", "surrogateescape")
    return _NEEDS_ESCAPE.sub(_escape, text)


def encode_listed(os_name: str) -> str:
    """The path text of a name as Python lists it (`os.fsdecode`d)."""
    return os_name if os_name.isascii() else encode(os.fsencode(os_name))


def decode(path: str) -> bytes:
    """The operating-system name of a path text.

    Raises ValueError for a text that `encode` never makes; else two texts could mean one file.
    """
    plain = path.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    if _ESCAPE_LEAD not in plain:
        return plain
    pieces, at = [], 0
    for run in _ESCAPE_RUN.finditer(path):
        pieces.append(path[at : run.start()].encode())
        pieces.append(bytes(ord(char) - _ESCAPE for char in run.group()))
        at = run.end()
    pieces.append(path[at:].encode())
    name = b"".join(pieces)
    if encode(name) != path:
        raise ValueError(f"not a path of this program: {display(path)}")
    return name


def from_argument(argument: str) -> str:
    """The path text of a file name given on the command line."""
    return encode_listed(argument)


def display(path: str) -> str:
    r"""The path for a terminal: bytes that are not text as `\xNN`, other unprintables as escapes.

    Control characters, line ends and characters that turn the reading direction cannot play tricks there. A
    backslash is doubled, so that the escapes cannot be forged by a name.
    """
    if path.isprintable() and "\\" not in path and _NEEDS_ESCAPE.search(path) is None:
        return path
    return "".join(map(_shown, path))


def in_shell(shown: str) -> str:
    """A path as `display` has it, as an argument of a command that somebody is to type."""
    return shlex.quote(shown) if _NEEDS_QUOTES.search(shown) else shown


def _escape(match: re.Match[str]) -> str:
    raw = match.group().encode("utf-8", "surrogateescape")
    return "".join(chr(_ESCAPE + byte) for byte in raw)


def _shown(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF or code >= _ESCAPE:
        return f"\\x{code & 0xFF:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    # Two bytes and more of valid UTF-8: `\xNN` would read as one byte of a broken name.
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
