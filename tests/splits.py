"""Splitting a text as the file of a path would be: by the reader that takes its suffix."""

from __future__ import annotations

from voyage_jobs.core.tokens import Count, estimate_each
from voyage_jobs.readers.reader import Text
from voyage_jobs.readers.registry import reader_of
from voyage_jobs.splitting.split import SplitDocument, SplitOptions
from voyage_jobs.splitting.split import split as split_document


def split(text: str, path: str, options: SplitOptions, count: Count = estimate_each) -> SplitDocument:
    """The document that a file with this decoded text is."""
    return split_document(Text(text, reader_of(path).reader.forms[0]), path, options, count)
