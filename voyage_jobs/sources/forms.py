"""Forms: which reader and which splitter a file goes through, and the fingerprint that tells their results apart.

A version is made of a file's bytes by a form under the options that this form uses. Its fingerprint is stored beside
the version, so that a scan can tell, file by file, what would come out differently now: another option of one form is
no reason to read the files of any other.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voyage_jobs.sources.split import SplitOptions

_SIZES = ("max_chars", "overlap_chars")
"""The options that every fingerprint ever made has in it. Any other is in it only where it is not the default."""
_FIRST_FORMS = ("markdown", "rst", "text")
"""Those that shared one fingerprint until 0.1.0, at reader and splitter 1. This tuple never changes."""


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of file is read and split."""

    name: str
    suffixes: tuple[str, ...] = ()
    """In lower case, with the dot."""
    reader: int = 1
    """Raise it when the same bytes come to give another text, or come to give one at all."""
    splitter: int = 1
    """Raise it when the same text comes to give other chunks, titles, sections or metadata: every document of this
    form is then read and split again, and what differs is embedded again. A new version of the splitting library does
    not raise it by itself, else every update would be paid for; documents keep their chunks until they change."""
    options: tuple[str, ...] = _SIZES
    """The fields of `SplitOptions` that this form uses."""

    def fingerprint(self, options: SplitOptions) -> str:
        """Tells apart what gives other texts or chunks of the same bytes: the form's name, and a digest."""
        return _fingerprint(self, options)

    def made(self, fingerprint: str, options: SplitOptions) -> bool:
        """Whether what has this fingerprint was made as this form would make it under these options."""
        return fingerprint in (self.fingerprint(options), *self.older(options))

    def older(self, options: SplitOptions) -> tuple[str, ...]:
        """What earlier releases called the very same result."""
        return _older(self, options)


MARKDOWN = Form("markdown", (".md", ".markdown", ".mdown", ".mkd", ".mdx"))
RST = Form("rst", (".rst", ".rest"))
TEXT = Form("text")

FORMS: tuple[Form, ...] = (MARKDOWN, RST, TEXT)
"""All forms; the last takes what no suffix claims. What the forms share (`read.py`, `pieces.py`, `sections.py`) raises
the version of each form whose results it changes."""


def form_of(path: str) -> Form:
    """The form of a file, by its suffix."""
    suffix = path[path.rfind(".") :].lower()
    return next((form for form in FORMS if suffix in form.suffixes), FORMS[-1])


def marker(options: SplitOptions) -> str:
    """What a source says once each of its documents was compared with all forms under these options."""
    claimed = sorted((suffix, form.name) for form in FORMS for suffix in form.suffixes)
    return " ".join([*(form.fingerprint(options) for form in FORMS), f"suffixes:{_digest(claimed)}"])


def unchanged(before: str | None, options: SplitOptions) -> Sequence[Form]:
    """The forms that a source was compared with already, by its marker."""
    known = (before or "").split()
    return [form for form in FORMS if any(form.made(each, options) for each in known)]


@functools.lru_cache(maxsize=64)
def _fingerprint(form: Form, options: SplitOptions) -> str:
    values = [getattr(options, name) for name in _SIZES if name in form.options]
    return f"{form.name}:{_digest([form.name, form.reader, form.splitter, values, _further(form, options)])}"


@functools.lru_cache(maxsize=64)
def _older(form: Form, options: SplitOptions) -> tuple[str, ...]:
    as_first = form.name in _FIRST_FORMS and (form.reader, form.splitter) == (1, 1)
    if not as_first or _further(form, options):
        return ()
    return (_digest([1, options.max_chars, options.overlap_chars]),)


def _further(form: Form, options: SplitOptions) -> dict[str, object]:
    """The options besides the sizes that a form uses and that are not at their defaults."""
    return {
        each.name: getattr(options, each.name)
        for each in sorted(fields(options), key=lambda each: each.name)
        if each.name in form.options and each.name not in _SIZES
        if getattr(options, each.name) != each.default
    }


def _digest(described: object) -> str:
    return hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()
