"""Which reader and which splitter made a version: the fingerprint that tells their results apart.

A version is made of a file's bytes by a reader and the splitter of its form, under the options that these use. The
fingerprint is stored beside the version, so that a scan can tell, file by file, what would come out differently now:
another option of one form is no reason to read the files of any other.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from voyage_jobs.readers.code import CODE
from voyage_jobs.readers.reader import Json
from voyage_jobs.readers.registry import Registered, fallback, is_here, reader_of, readers, told
from voyage_jobs.splitting.forms import FORMS, SIZES
from voyage_jobs.splitting.split import SplitOptions

_FIRST_READERS = ("markdown", "rst", "text")
"""Those that shared one fingerprint until 0.1.0, at reader and splitter 1. This tuple never changes."""
_LATECOMERS = ("html", "notebook", "asciidoc", "org", "mail", *(each.name for each in CODE))
"""Those whose files were plain text before they came."""
_OF_PLAIN_TEXT = ("data", "encoding")


def fingerprint(made_by: Registered, options: SplitOptions) -> str:
    """Tells apart what gives other texts or chunks of the same bytes: the reader's name, and a digest."""
    return _fingerprint(made_by, options, _splitters(made_by, options))


def older(made_by: Registered, options: SplitOptions) -> tuple[str, ...]:
    """What earlier releases called the very same result."""
    return _older(made_by, options, _splitters(made_by, options))


def is_made_by(known: str, reader: Registered, options: SplitOptions) -> bool:
    """Whether what has the fingerprint `known` was made as this reader and its splitter would make it now, or stays
    as it is until its file changes."""
    names = (fingerprint(reader, options), *older(reader, options), *as_plain_text(reader, options))
    return known in names


def as_plain_text(reader: Registered, options: SplitOptions) -> tuple[str, ...]:
    """What the files of a reader were made as before it came with this package: nobody has asked for what they would
    cost as another text, so they stay so while their bytes do. Empty for any other reader."""
    if reader.name not in _LATECOMERS:
        return ()
    plain = told(
        fallback(), {name: value for name, value in reader.options.items() if name in _OF_PLAIN_TEXT}
    )
    return (fingerprint(plain, options), fingerprint(fallback(), options), *older(fallback(), options))


def maker_of(known: str | None, path: str, options: Mapping[str, Json]) -> Registered:
    """The reader that made what has this fingerprint with these options, else that of the path: only its text has the
    same offsets."""
    name, colon, _ = (known or "").partition(":")
    reader = reader_of(path)
    if colon:
        return told(next((each for each in readers() if each.name == name), reader), options)
    return fallback() if known and reader.name not in _FIRST_READERS else reader


def lacks_reader(known: str) -> bool:
    """Whether what has this fingerprint was made by a reader that is not here: a package that was removed, say."""
    name, colon, _ = known.partition(":")
    return bool(colon) and not is_here(name)


def marker(options: SplitOptions, used: Sequence[Registered]) -> str:
    """What a source says once each of its documents was compared with all the readers that it uses."""
    claimed = sorted((suffix, each.name) for each in used for suffix in each.reader.suffixes)
    return " ".join([*(named(each, options) for each in used), f"suffixes:{_digest(claimed)}"])


def named(each: Registered, options: SplitOptions) -> str:
    """A reader as a marker names it. That a library is missing is said, too: once it is installed, the files that were
    skipped are read."""
    return f"{each.name}:needs:{each.missing}" if each.missing else fingerprint(each, options)


def unchanged(before: str | None, options: SplitOptions, used: Sequence[Registered]) -> Sequence[Registered]:
    """Those of the readers that a source was compared with already, by its marker."""
    known = (before or "").split()
    return [
        each
        for each in used
        if named(each, options) in known or any(one in known for one in older(each, options))
    ]


def _splitters(made_by: Registered, options: SplitOptions) -> tuple[int, ...]:
    forms = FORMS[options.rules]
    return tuple(forms[form].splitter for form in made_by.reader.forms)


@functools.lru_cache(maxsize=256)
def _fingerprint(made_by: Registered, options: SplitOptions, splitters: tuple[int, ...]) -> str:
    reader = made_by.reader
    forms = FORMS[options.rules]
    used = {name for form in reader.forms for name in forms[form].options}
    described: list[object] = [
        reader.name,
        reader.version,
        splitters[0] if len(splitters) == 1 else [*zip(reader.forms, splitters, strict=True)],
        [getattr(options, name) for name in SIZES if name in used],
        _further(made_by, options),
    ]
    if made_by.options:
        described.append(json.dumps(made_by.options, sort_keys=True))
    return f"{reader.name}:{_digest(described)}"


@functools.lru_cache(maxsize=256)
def _older(made_by: Registered, options: SplitOptions, splitters: tuple[int, ...]) -> tuple[str, ...]:
    as_first = made_by.name in _FIRST_READERS and (made_by.reader.version, *splitters) == (1, 1)
    if not as_first or made_by.options or _further(made_by, options):
        return ()
    return (_digest([1, options.max_chars, options.overlap_chars]),)


def _further(made_by: Registered, options: SplitOptions) -> dict[str, object]:
    """The options besides the sizes that its forms use and that are not at their defaults."""
    return dict(sorted(_not_default(made_by, options)))


def _not_default(made_by: Registered, options: SplitOptions) -> Iterator[tuple[str, object]]:
    forms = FORMS[options.rules]
    used = {name for form in made_by.reader.forms for name in forms[form].options if name not in SIZES}
    for each in fields(options):
        if each.name in used and getattr(options, each.name) != each.default:
            yield each.name, getattr(options, each.name)


def _digest(described: object) -> str:
    return hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()
