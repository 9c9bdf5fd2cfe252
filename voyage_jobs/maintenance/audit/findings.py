"""What an audit has found: a count for each class, a few examples, and what repair needs to know."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from voyage_jobs.maintenance.audit.catalog import CATALOG

EXAMPLES = 5
LOOKED_AT = ("files", "packs", "embeddings", "rows", "indexes", "jobs", "remote_files")
MOST_SUBJECTS = 200_000
"""So many are mended in one round; what is beyond them in the next."""


@dataclass
class Finding:
    """One class of damage. `subjects` name what repair has to mend, each once: ids, names, pairs."""

    code: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    subjects: dict[Hashable, None] = field(default_factory=dict)

    @property
    def person(self) -> bool:
        """Whether only an operator can mend it."""
        return CATALOG[self.code].person

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        damage = CATALOG[self.code]
        return {
            "class": self.code,
            "count": self.count,
            "unit": damage.unit,
            "means": damage.means,
            "mend": damage.mend,
            "person": damage.person,
            "examples": list(self.examples),
        }


class Findings:
    """Collects damage while the audits stream by."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}
        self.checked: dict[str, int] = {}
        """What was looked at: how many files, segments, rows ..."""

    def add(self, code: str, example: str, subject: Hashable | None = None) -> None:
        """Count one thing of a class of `CATALOG`."""
        if code not in CATALOG:
            raise ValueError(f"{code} is no class of damage")
        finding = self._found.setdefault(code, Finding(code))
        finding.count += 1
        if len(finding.examples) < EXAMPLES and example not in finding.examples:
            finding.examples.append(example)
        if subject is not None and len(finding.subjects) < MOST_SUBJECTS:
            finding.subjects[subject] = None

    def looked_at(self, what: str, count: int = 1) -> None:
        """Note that so many more were checked."""
        self.checked[what] = self.checked.get(what, 0) + count

    def all(self) -> list[Finding]:
        """Every class with damage, in the order of the catalogue."""
        return [self._found[code] for code in CATALOG if code in self._found]

    def of(self, *codes: str) -> list[Any]:
        """The subjects of some classes, each once."""
        merged: dict[Hashable, None] = {}
        for code in codes:
            if code in self._found:
                merged.update(self._found[code].subjects)
        return list(merged)

    def has(self, codes: Iterable[str]) -> bool:
        """Whether anything of these classes was found."""
        return any(code in self._found for code in codes)

    @property
    def total(self) -> int:
        """How much was found in all."""
        return sum(finding.count for finding in self._found.values())
