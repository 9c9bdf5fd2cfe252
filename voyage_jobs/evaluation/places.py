"""Where answers stand: by document and heading, since chunks and their ids change with every splitter. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote

_BELOW = re.compile(r"\s*>\s*")
_NO_WORD = re.compile(r"[^\w]+")
_RESERVED = re.compile(r"[\s%#:>]")


class Place(NamedTuple):
    """Where a chunk that was found stands: `section` are the headings above it, its own last."""

    source: str
    path: str
    section: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """One word without white space, which `read_word` reads: for files in the formats of TREC."""
        section = ">".join(map(_quoted, self.section))
        name = f"{_quoted(self.source)}:{_quoted(self.path)}" if self.source else _quoted(self.path)
        return f"{name}#{section}" if section else name


def _quoted(text: str) -> str:
    return _RESERVED.sub(lambda found: quote(found[0]), text)


def read_word(word: str) -> Place:
    """What `Place.word` wrote, or a plain name of a document."""
    name, _, section = word.partition("#")
    source, colon, path = name.partition(":")
    headings = tuple(map(unquote, section.split(">"))) if section else ()
    return Place(unquote(source) if colon else "", unquote(path if colon else source), headings)


class Target(NamedTuple):
    """A document, or a section of it: what stands below all of `headings`. `source` is empty where any will do."""

    source: str
    path: str
    headings: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """As it is written in a file of questions."""
        name = f"{self.source}:{self.path}" if self.source else self.path
        return f"{name}#{' > '.join(self.headings)}" if self.headings else name

    def is_at(self, place: Place) -> bool:
        """Whether what stands there is what is meant. A path may lack its suffix, a heading its punctuation."""
        if self.source and place.source and self.source != place.source:
            return False
        if self.path not in (place.path, _stem(place.path)):
            return False
        above = iter(map(_plain, place.section))
        return all(_plain(heading) in above for heading in self.headings)


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _plain(heading: str) -> str:
    """What two ways to write a heading have in common; the anchor of a link to it is one."""
    return _NO_WORD.sub("-", heading.casefold()).strip("-") or heading.strip().casefold()


def target(text: str, sources: Collection[str]) -> Target:
    """`path`, `path#Heading`, `path#Heading > Sub`, each with `source:` before it if it is one of `sources`."""
    name, _, heading = text.partition("#")
    source, colon, path = name.partition(":")
    headings = tuple(_BELOW.split(heading.strip())) if heading.strip() else ()
    if colon and source in sources:
        return Target(source, path, headings)
    return Target("", name, headings)


def whole_documents(judged: Mapping[Target, int]) -> dict[Target, int]:
    """The same judgements of documents: each has the best grade of what is in it."""
    best: dict[Target, int] = {}
    for each, grade in judged.items():
        document = each._replace(headings=())
        best[document] = max(grade, best.get(document, grade))
    return best


def grades(ranking: Iterable[Place], judged: Mapping[Target, int], *, by_section: bool) -> list[int]:
    """The grades of what a ranking of chunks shows, best first.

    Each target, and each document (or section) that is none, counts once: the first chunk of it has its rank.
    """
    return [grade for _, grade in units(ranking, judged, by_section=by_section)]


def units(
    ranking: Iterable[Place], judged: Mapping[Target, int], *, by_section: bool
) -> Iterator[tuple[Place, int]]:
    """As `grades`, with the place of the first chunk of each."""
    best_first = sorted(judged.items(), key=lambda item: -item[1])
    found: set[Target] = set()
    others: set[Place] = set()
    for place in ranking:
        meant = [(each, grade) for each, grade in best_first if each.is_at(place)]
        fresh = next(((each, grade) for each, grade in meant if each not in found), None)
        unit = place if by_section else place._replace(section=())
        if fresh is not None:
            found.add(fresh[0])
            yield place, fresh[1]
        elif not meant and unit not in others:
            others.add(unit)
            yield place, 0


def missing(targets: Iterable[Target], there: Sequence[Place]) -> list[Target]:
    """Targets that are at none of these places."""
    by_name: dict[str, list[Place]] = {}
    for place in there:
        for name in {place.path, _stem(place.path)}:
            by_name.setdefault(name, []).append(place)
    return [each for each in targets if not any(map(each.is_at, by_name.get(each.path, ())))]
