"""Files that `include` does not name, in words: how many of which kind, and what would read some of them."""

from __future__ import annotations

from collections.abc import Mapping

from voyage_jobs.readers.registry import claimant, fallback
from voyage_jobs.sources.kinds import told

_OF_ROWS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def passed_over(source: str, kinds: Mapping[str, int]) -> str:
    """One or two sentences about the files of a source; empty without any."""
    others = told(kinds)
    return f"Passed over in {source}: {others}. {how_to_take(kinds)}" if others else ""


def how_to_take(kinds: Mapping[str, int]) -> str:
    """What to write into `include` to have files of these kinds, and what has to be installed for it."""
    rows = ", ".join(kind for kind in kinds if kind in _OF_ROWS)
    if rows:
        others = {kind: count for kind, count in kinds.items() if kind not in _OF_ROWS}
        more = f" {how_to_take(others)}" if others else ""
        how = f"In a source with `records` whose `include` names them, each row of {rows} is a document"
        return f"{how}: see docs/records.md.{more}"
    if ".gz" in kinds:
        others = {kind: count for kind, count in kinds.items() if kind != ".gz"}
        more = f" {how_to_take(others)}" if others else ""
        return f"`logs` of its source names logs, packed ones (.gz) among them: see docs/readers.md.{more}"
    readable = {kind: claimant(f"x{kind}") for kind in kinds if kind.startswith(".")}
    known = {kind: reader for kind, reader in readable.items() if reader is not fallback()}
    if not known:
        return "`include` says what is taken."
    patterns = ", ".join(f"*{kind}" for kind in known)
    missing = [each for each in known.values() if each.missing]
    lacking = {getattr(each.reader, "extra", "") or each.name: each for each in reversed(missing)}
    needs = "".join(f"; {each.lacking(each.missing)}" for each in lacking.values())
    return f"Add {patterns} to `include` to have {sum(kinds[kind] for kind in known):,} of them read{needs}."
