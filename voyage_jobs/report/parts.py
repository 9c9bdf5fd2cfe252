"""Parts of documents that are not in their texts, or not as they could be, in words."""

from __future__ import annotations

from collections.abc import Mapping

from voyage_jobs.core.plural import counted

_WORDS = {
    "alternatives": ("{} of mails in a form besides the one that is read", "text"),
    "attachments": ("{} of mails", "attachment"),
    "chapters": ("{} of books that are not in them, or not whole", "chapter"),
    "drawers": ("{} of Org's drawers", "token"),
    "headers": ("{} of mails' transport", "header"),
    "hidden_sheets": ("{} of hidden sheets", "token"),
    "hidden_text": (
        "{} of hidden or deleted text, headers, footers, comments, text boxes and charts",
        "token",
    ),
    "notes": ("{} of RTF (footnotes, headers, footers)", "note"),
    "outputs": ("{} of notebooks' outputs", "token"),
    "pictures": ("{} in the place of pages' pictures", "token"),
    "running_lines": ("{} of running headers and footers", "token"),
    "surroundings": ("{} of menus, headers and footers of pages", "token"),
    "unparsed": ("the functions of {} of code that cannot be parsed, which is cut by its lines", "file"),
}


def parts_left_out(source: str, parts: Mapping[str, int]) -> str:
    """One sentence about the documents of a source; empty without any."""
    told = ", ".join(_told(reason, count) for reason, count in parts.items())
    return f"Left out of documents of {source}: {told}" if told else ""


def data_left_out(source: str, data: Mapping[str, int]) -> str:
    """One sentence about the data in its documents, which is not embedded; empty without any."""
    if not data.get("files"):
        return ""
    return (
        f"Not embedded of {source}: data in {counted(data['files'], 'file')}, about {data['tokens']:,} tokens"
    )


def _told(reason: str, count: int) -> str:
    """The word of a reader of somebody else's stands for itself."""
    words, noun = _WORDS.get(reason, ("{} " + reason, "part"))
    return words.format(counted(count, noun))
