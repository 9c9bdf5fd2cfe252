"""A kind of contract that import-linter has not: each library has its homes, and no library is without a rule.

    [[tool.importlinter.contracts]]
    name = "Each library has its home"
    type = "homes"
    package = "voyage_jobs"
    homes = ["click: cli", "httpx: notify.sinks, voyage", "orjson: *"]

A home is a module or a folder of the package; `*` is anywhere. The contract starts from the imports that there are, so
nothing has to be listed to be checked. It breaks for an import outside the homes, for a library that no rule names, and
for a rule or a home that nothing needs any more. The standard library needs no rule.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.contract import InvalidContractOptions

ANYWHERE = "*"


class HomesField(fields.Field):
    """One rule: `library: home, home`."""

    def parse(self, raw_data: str | list[str]) -> tuple[str, tuple[str, ...]]:
        """The library and its homes."""
        library, _, homes = str(raw_data).partition(":")
        named = tuple(home.strip() for home in homes.split(",") if home.strip())
        if not library.strip() or not named:
            raise fields.ValidationError(f"{raw_data!r} is not of the form 'library: home, home'.")
        return library.strip(), named


class Homes(Contract):
    """Each library is imported in its homes alone."""

    package = fields.StringField()
    homes = fields.ListField(subfield=HomesField())

    def validate(self) -> None:
        """Refuse a second rule for a library: it would hide the first."""
        libraries = Counter(library for library, _ in self.homes)
        twice = [library for library, rules in libraries.items() if rules > 1]
        if twice:
            raise InvalidContractOptions({"homes": f"More than one rule for {', '.join(twice)}."})

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Compare every import of a library with its rule."""
        wrong = sorted(violations(graph, str(self.package), dict(self.homes)))
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each violation."""
        for line in check.metadata["wrong"]:
            output.print_error(f"- {line}", bold=False)
        output.new_line()


def violations(graph: ImportGraph, package: str, rules: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """What is wrong, in words."""
    used: dict[str, set[str]] = {library: set() for library in rules}
    for importer, library, lines in _library_imports(graph, package):
        said = f"{importer} imports {library}"
        if library not in rules:
            yield f"{said}, which has no rule (l. {lines})"
            continue
        homes = [home for home in rules[library] if _lives_in(importer, home, package)]
        used[library].update(homes)
        if not homes:
            yield f"{said}, whose home is {', '.join(rules[library])} (l. {lines})"
    for library, homes in rules.items():
        yield from (f"{library} is not imported in its home {home}" for home in set(homes) - used[library])


def _library_imports(graph: ImportGraph, package: str) -> Iterator[tuple[str, str, str]]:
    """Importing module, library, line numbers."""
    for importer in {package, *graph.find_descendants(package)}:
        for imported in graph.find_modules_directly_imported_by(importer):
            library = imported.partition(".")[0]
            if library != package and library not in sys.stdlib_module_names:
                details = graph.get_import_details(importer=importer, imported=imported)
                lines = sorted({each["line_number"] for each in details})
                yield importer, library, ", ".join(map(str, lines))


def _lives_in(module: str, home: str, package: str) -> bool:
    return home == ANYWHERE or f"{module}.".startswith(f"{package}.{home}.")
