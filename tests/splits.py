"""Splitting a text as the file of a path would be: by the reader that takes its suffix."""

from __future__ import annotations

from voyage_jobs.core.tokens import Count, estimate_each
from voyage_jobs.readers.reader import Text
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.splitting.forms import RULES
from voyage_jobs.splitting.header import embedded
from voyage_jobs.splitting.split import TITLE_AND_SECTION, SplitDocument, SplitOptions
from voyage_jobs.splitting.split import split as split_document
from voyage_jobs.steps.splitting import MIN_CHARS, STABLE_WINDOW_TOKENS


def split(text: str, path: str, options: SplitOptions, count: Count = estimate_each) -> SplitDocument:
    """The document that a file with this decoded text is."""
    return split_document(Text(text, reader_of(path).reader.forms[0]), path, options, count)


def of_new_state(max_chars: int = 2000, *, contextualized: bool = False) -> SplitOptions:
    """The options of a state that begins now, where the configuration says no more than a size."""
    return SplitOptions(
        max_chars,
        rules=RULES,
        context="" if contextualized else TITLE_AND_SECTION,
        min_chars=MIN_CHARS,
        window_tokens=STABLE_WINDOW_TOKENS if contextualized else 0,
    )


def sent(text: str, path: str, options: SplitOptions) -> list[str]:
    """What is embedded for each chunk of such a file."""
    document = split(text, path, options)
    return [embedded(text, c.start, c.end, document.headers, c.section) for c in document.chunks]
