"""A filter with fields of the front matter by their plain names, spelled out in Lance's SQL. Pure.

What a field is compared with, or the function that it is given to, says how its values are read: as numbers, as yes or
no, or as texts. A row whose value is of another kind does not match, and ends no query.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

import orjson

from voyage_jobs.table.filters import quoted

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[^\W\d]\w*(?:\.[^\W\d]\w*)*|\.?\d[\w.]*|[<>!=]+|\s+|.""",
    re.DOTALL,
)
_KEYWORD = re.compile(
    "and|as|between|case|else|end|escape|false|ilike|in|is|like|not|null|or|then|true|when", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d]\w*")
_SIGNS = ("<", ">", "!", "=")
_IS, _IS_NOT = ("=", "=="), ("!=", "<>")
_TIMES = ("*", "/", "%")
_PASSED = frozenset(("not", "in", "between", "like", "ilike", "(", ")", ",", "-", "+", *_TIMES))
_DIGITS = (".", *"0123456789")
_QUOTABLE = re.compile(r"""[^"'`\\]+""")  # in a path of JSON
_CONTROL = re.compile(r"[\x00-\x1f]")
_OF_TEXTS = re.compile(
    "ascii|[blr]?trim|char(acter)?_length|concat|contains|ends_with|initcap|left|length|lower|[lr]pad|octet_length|"
    "regexp_(like|match|replace)|repeat|replace|reverse|right|split_part|starts_with|strpos|substr(ing)?|translate|upper"
)
_OF_NUMBERS = re.compile("abs|ceil|exp|floor|ln|log(10|2)?|power|round|sign|sqrt|trunc")


class _Name(str):
    """A name that was written in quotes: whatever it looks like, it is no word of SQL."""

    __slots__ = ()


def translated(where: str, columns: Collection[str]) -> tuple[str, list[str]]:
    """The filter with every field spelled out, and the names of the fields. `columns` are in lower case."""
    parts = _TOKEN.findall(where)
    places = [at for at, part in enumerate(parts) if not part.isspace()]
    words = _unquoted([parts[at] for at in places], columns)
    fields, made = [], list(words)
    for at, word in enumerate(words):
        if not _is_field(words, at, columns):
            continue
        fields.append(word)
        first, last, sql = _spelled(words, at)
        made[first : last + 1] = [sql, *[""] * (last - first)]
        if [each.lower() for each in words[max(0, at - 2) : at]] == ["cast", "("]:
            made[at - 2] = "try_cast"  # a row with a value of another kind ends no query
    for at, word in zip(places, made, strict=True):
        parts[at] = word
    return "".join(parts), list(dict.fromkeys(fields))


def in_quotes(name: str) -> str:
    """The name as a filter takes it: in double quotes, unless it is a plain word."""
    return name if _WORD.fullmatch(name) and not _KEYWORD.fullmatch(name) else f'"{name}"'


def path(name: str) -> str:
    """A field as a path of JSON, as a value of SQL. A dot in a plain name leads into it."""
    parts = [name] if isinstance(name, _Name) else name.split(".")
    return "'$" + "".join(f'."{part}"' for part in parts) + "'"


def _unquoted(words: Sequence[str], columns: Collection[str]) -> list[str]:
    """Names without their quotes. What stands in double quotes where a value is wanted is a text, as Lance reads it."""
    found: list[str] = []
    for word in words:
        inner = word[1:-1]
        if word[0] not in '"`' or _QUOTABLE.fullmatch(inner) is None:
            found.append(word)
        elif word[0] == '"' and _wants_a_value(found):
            found.append(quoted(inner))
        else:
            found.append(inner if inner.lower() in columns else _Name(inner))
    return found


def _wants_a_value(before: Sequence[str]) -> bool:
    if not before:
        return False
    last = before[-1].lower()
    return last[0] in _SIGNS or last in ("like", "ilike") or _opener(before, len(before)) == "in"


def _is_field(words: Sequence[str], at: int, columns: Collection[str]) -> bool:
    word, after = words[at], words[at + 1 : at + 2]
    if isinstance(word, _Name):
        return True
    if not (word[0].isalpha() or word[0] == "_") or _KEYWORD.fullmatch(word) or after == ["("]:
        return False
    if word.lower().partition(".")[0] in columns or (after and after[0].startswith("'")):
        return False
    return not (at and words[at - 1].lower() == "as")


def _spelled(words: Sequence[str], at: int) -> tuple[int, int, str]:
    """What takes the place of which words, from one to another: a field, or it with the texts beside it."""
    name, before = words[at], words[at - 1] if at else ""
    after = [word.lower() for word in words[at + 1 : at + 3]]
    if before == "|":
        return at, at, _value(words, at)
    if after[:1] and after[0] in (*_IS, *_IS_NOT) and _is_text(words, at + 2):
        return at, at + 2, _is_or_holds(name, [words[at + 2]], negated=after[0] in _IS_NOT)
    negated = after == ["not", "in"]
    if after[:1] == ["in"] or negated:
        texts, end = _texts(words, at + 2 + negated)
        if texts:
            return at, end, _is_or_holds(name, texts, negated=negated)
    if before in (*_IS, *_IS_NOT) and at > 1 and words[at - 2].startswith("'") and not _goes_on(words, at):
        return at - 2, at, _is_or_holds(name, [words[at - 2]], negated=before in _IS_NOT)
    return at, at, _value(words, at)


def _is_text(words: Sequence[str], at: int) -> bool:
    """Whether a text stands there by itself."""
    return "".join(words[at : at + 1]).startswith("'") and not _goes_on(words, at)


def _goes_on(words: Sequence[str], at: int) -> bool:
    return words[at + 1 : at + 2] in (["|"], ["+"], ["-"], *([each] for each in _TIMES))


def _texts(words: Sequence[str], at: int) -> tuple[list[str], int]:
    """The texts of a list in brackets that has nothing else, and where it ends."""
    texts: list[str] = []
    while words[at : at + 1] in (["("], [","]) and "".join(words[at + 1 : at + 2]).startswith("'"):
        texts.append(words[at + 1])
        at += 2
    return (texts, at) if words[at : at + 1] == [")"] else ([], at)


def _raw(name: str) -> str:
    return f"nullif(json_extract(front_matter, {path(name)}), 'null')"


def _text(name: str) -> str:
    bare = f"""regexp_replace({_raw(name)}, '^"(.*)"$', '$1')"""
    return f"""replace(replace({bare}, '\\"', '"'), '\\\\', '\\')"""


def _is_or_holds(name: str, texts: Iterable[str], *, negated: bool) -> str:
    """That a field is one of these texts, or a list that holds one of them; or that it is another one."""
    sql = " OR ".join(each for text in texts for each in _alternatives(name, text))
    return f"(NOT ({sql}))" if negated else f"({sql})"


def _alternatives(name: str, text: str) -> tuple[str, str]:
    written = text[1:-1].replace("''", "'")
    if _CONTROL.search(written):  # which JSON writes in another way
        same = f"{_raw(name)} = {quoted(orjson.dumps(written).decode())}"
    else:
        same = f"{_text(name)} = {text}"
    return same, f"coalesce(json_array_contains(front_matter, {path(name)}, {text}), false)"


def _value(words: Sequence[str], at: int) -> str:
    """A field as the kind of value that it is compared with, or that a function takes."""
    name, beside, opener = words[at], _compared_with(words, at), _opener(words, at)
    if beside == "is":
        return _raw(name)
    if _OF_TEXTS.fullmatch(opener) or beside.startswith("'"):
        return _text(name)
    if _OF_NUMBERS.fullmatch(opener) or beside == "name" or beside[:1] in _DIGITS:
        return f"try_cast({_raw(name)} AS double)"
    if not beside and opener and not _KEYWORD.fullmatch(opener):
        return _text(name)
    return f"try_cast({_raw(name)} AS boolean)"


def _opener(words: Sequence[str], at: int) -> str:
    """The word before the bracket in which something stands, in lower case; empty for none."""
    depth = 0
    for place in range(at - 1, -1, -1):
        if words[place] == "(":
            if not depth:
                word = words[place - 1].lower() if place else ""
                return word if word[:1].isalpha() else ""
            depth -= 1
        depth += words[place] == ")"
    return ""


def _compared_with(words: Sequence[str], at: int) -> str:
    """The value beside a name, `is` before NULL, `name` for another name; empty for none: it stands by itself."""
    after = [word.lower() for word in words[at + 1 :]]
    if after[:1] == ["is"]:
        return "is" if "null" in after[1:3] else "true"
    if "|" in (*after[:1], *words[max(0, at - 1) : at]):
        return "'"
    for word in after:
        if word in _PASSED or word[0] in _SIGNS:
            continue
        if word[0] in _DIGITS or word[0] == "'" or word in ("true", "false"):
            return word
        if _KEYWORD.fullmatch(word) or not word[0].isalpha():
            break
        return "name"
    before = [word.lower() for word in reversed(words[:at]) if word not in ("(", "-", "+")][:2]
    if not before[1:] or before[0][0] not in (*_SIGNS, *_TIMES):
        return ""
    if before[0] in _TIMES:
        return "name"
    return "name" if before[1][0].isalpha() and before[1] not in ("true", "false") else before[1]
