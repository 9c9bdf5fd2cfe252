"""What reads the files: the readers in use, and those of installed packages that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

from voyage_jobs.maintenance.doctor.check import Check, bad, good
from voyage_jobs.readers import registry


def check_readers() -> Iterator[Check]:
    """One line for all that work, one for each that does not."""
    yield good("readers", ", ".join(map(_named, registry.readers())))
    for each in registry.broken():
        fix = f"Update or remove {each.origin}; what it has read stays in the table, and is not read by another reader."
        yield bad(f"reader {each.name}", f"cannot be used: {each.why}", fix)


def _named(each: registry.Registered) -> str:
    """Name and version, and where it comes from if it is not ours."""
    notes = [] if each.origin == registry.OURS else [each.origin]
    if each.missing:
        _, _, how = each.lacking(each.missing).partition(": ")
        notes.append(f"not in use: {how or f'it needs {each.missing}'}")
    return " ".join([each.name, str(each.reader.version), *(f"({note})" for note in notes)])
