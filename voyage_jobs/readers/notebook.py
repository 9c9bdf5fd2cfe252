"""Jupyter notebooks: Markdown cells as they are, code cells as fences, outputs left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import orjson

from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.readers.reader import Json, Place, Reader, Refusal, Refused, Text
from voyage_jobs.readers.text import decoded

_FENCE = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,32}")


class NotebookReader(Reader):
    """Of the formats 3 and 4. The place of a text is its cell."""

    name = "notebook"
    version = 1
    suffixes = (".ipynb",)
    forms = ("markdown",)
    isolated = True

    def read(self, file: BinaryIO, options: Mapping[str, Json]) -> Iterator[Text]:  # noqa: ARG002 - it has none
        """All its cells. Raises Refused for what is no notebook."""
        try:
            notebook = orjson.loads(decoded(file.read()))
        except orjson.JSONDecodeError as exc:
            raise Refused(Refusal.BROKEN, f"no JSON at character {exc.pos}") from None
        if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
            raise Refused(Refusal.BROKEN, "JSON, but no notebook")
        language = _language(notebook)
        parts: list[str] = []
        places, at, outputs = [], 0, 0
        for number, cell in enumerate(_cells(notebook), 1):
            outputs += sum(map(estimate_tokens, _strings([cell.get("outputs"), cell.get("attachments")])))
            source = _source(cell).strip("\r\n").replace("\0", "")
            if not source.strip():
                continue
            if cell.get("cell_type") == "code":
                source = _fenced(source, language)
            places.append(Place(at, "cell", str(number)))
            parts.append(source + "\n\n")
            at += len(parts[-1])
        left_out = {"outputs": outputs} if outputs else {}
        yield Text("".join(parts), "markdown", metadata={}, places=places, left_out=left_out)


def _cells(notebook: dict[str, Json]) -> list[dict[str, Json]]:
    """Format 3 has them in sheets."""
    sheets = notebook.get("worksheets") if "cells" not in notebook else [notebook]
    found = [
        each.get("cells") for each in (sheets if isinstance(sheets, list) else ()) if isinstance(each, dict)
    ]
    cells = [cell for each in found if isinstance(each, list) for cell in each]
    return [cell for cell in cells if isinstance(cell, dict)]


def _source(cell: dict[str, Json]) -> str:
    """One string, or one for each line; code of format 3 is called input."""
    source = cell.get("source", cell.get("input"))
    if isinstance(source, list):
        return "".join(map(str, source))
    return source if isinstance(source, str) else ""


def _strings(value: Json) -> Iterator[str]:
    """What stands in it that is not blank, without the names of fields."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _language(notebook: dict[str, Json]) -> str:
    metadata = notebook.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    language = kernel.get("language") if isinstance(kernel, dict) else None
    return language if isinstance(language, str) and _LANGUAGE.fullmatch(language) else ""


def _fenced(code: str, language: str) -> str:
    """In a fence that is longer than any in it."""
    longest = max((len(fence) for fence in _FENCE.findall(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


NOTEBOOK = NotebookReader()
