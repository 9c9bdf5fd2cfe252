"""Files by kind, the ending of their names: what lies beside the documents of a source, in numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

NO_ENDING = "no ending"
OTHERS = "other kinds"
_MOST_KINDS = 100
_SHOWN = 4
_ENDING = re.compile(r"\.(?=[0-9_+-]*[a-z])[a-z0-9_+-]{1,12}")


def kind_of(name: str) -> str:
    """`.html` for `Page.HTML`; what is no usual ending (`.2024-01-01`) is none."""
    ending = name[max(name.rfind("."), 0) :].lower()
    return ending if _ENDING.fullmatch(ending) and len(ending) < len(name) else NO_ENDING


class Kinds:
    """Adds up numbers of files by kind. Bounded: whatever comes after 100 kinds is one kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        """Add those of one folder."""
        for kind, count in counts.items():
            has_room = kind in self._counts or len(self._counts) < _MOST_KINDS
            self._counts[kind if has_room else OTHERS] += count

    def as_dict(self) -> dict[str, int]:
        """Kind -> number of files, the most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda each: (-each[1], each[0])))


def told(kinds: Mapping[str, int]) -> str:
    """`16 other files (5 .html, 4 .json, 3 .png, 2 with no ending, 2 of other kinds)`; empty without any."""
    total = sum(kinds.values())
    if not total:
        return ""
    named = [kind for kind in kinds if kind not in (NO_ENDING, OTHERS)][:_SHOWN]
    parts = [f"{kinds[kind]:,} {kind}" for kind in named]
    if bare := kinds.get(NO_ENDING, 0):
        parts.append(f"{bare:,} with no ending")
    if rest := total - bare - sum(kinds[kind] for kind in named):
        parts.append(f"{rest:,} of other kinds")
    return f"{total:,} other {'file' if total == 1 else 'files'} ({', '.join(parts)})"
