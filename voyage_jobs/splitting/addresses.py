"""Where a document is on the web: its path below the address of its source. Pure."""

from __future__ import annotations

from urllib.parse import quote

from voyage_jobs.sources import names

_PAGES = ("md", "mdx", "markdown", "rst", "txt", "adoc", "asciidoc", "org", "html", "htm", "xhtml", "ipynb")
"""Suffixes of what sites make pages of; any other file stands there under its whole name."""
_INDEX = "index"


def address_of(base_url: str, path: str) -> str:
    """The address of the document at `path` of a source whose folder is at `base_url`, which ends with a slash.

    The suffix of a page is left out, and an index is its folder: `guide/renew.md` is `guide/renew`, `guide/index.md` is
    `guide/`, `terms.pdf` is itself.
    """
    folder, slash, name = path.rpartition("/")
    stem, _, suffix = name.rpartition(".")
    if stem and suffix.lower() in _PAGES:
        name = "" if stem == _INDEX else stem
    return base_url + quote(names.decode(folder + slash + name))
