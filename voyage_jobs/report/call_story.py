"""The story of a synchronous call, and what of it belongs into the stories of documents and embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from voyage_jobs.clock import iso
from voyage_jobs.plural import counted
from voyage_jobs.report.find import EmbeddingRef
from voyage_jobs.state import calls, ledger
from voyage_jobs.state.calls import CallRow
from voyage_jobs.state.documents import DocumentRow
from voyage_jobs.state.embeddings import OUTCOME_WORDS
from voyage_jobs.state.story import View
from voyage_jobs.states import Call

_ENDS = {
    Call.OPEN: "It is under way, or the process that made it has died: the next start tells which.",
    Call.ANSWERED: "It was answered, and billed.",
    Call.NOT_HAPPENED: "It came to nothing, and was not billed.",
    Call.UNKNOWN: "Its answer was lost: nobody can tell whether it was billed. Its texts were not asked for again by"
    " themselves.",
}


class CallStory(NamedTuple):
    """What `history` shows of a call."""

    summary: str
    facts: dict[str, Any]
    moments: list[tuple[int, int, str]]
    parts: dict[str, list[dict[str, Any]]]


def calls_about(connection: View, meaning: DocumentRow | EmbeddingRef) -> list[tuple[int, int, str]]:
    """What happened in the calls that were made for a document or an embedding."""
    if isinstance(meaning, DocumentRow):
        return _events(calls.of_document(connection, meaning.id))
    return _events(calls.for_embedding(connection, meaning.embedding.id))


def _events(made: Iterable[CallRow]) -> list[tuple[int, int, str]]:
    """What happened in these calls, for the story of something that they were about."""
    told = []
    for call in made:
        texts = counted(call.inputs, "text")
        told.append(
            (
                call.sent_at,
                0,
                f"call {call.ref}: {texts} expedited at the full price, asked for by {call.who}",
            )
        )
        if call.closed_at is not None:
            told.append((call.closed_at, 0, f"call {call.ref}: {_end(call)}"))
    return told


def _end(call: CallRow) -> str:
    if call.state is Call.ANSWERED:
        return f"answered ({call.detail}; {call.tokens_billed or 0:,} tokens billed)"
    if call.state is Call.UNKNOWN:
        return f"its answer was lost; maybe paid, {call.tokens_estimated:,} tokens at most ({call.detail})"
    return f"came to nothing, not billed ({call.detail})"


def tell_call(connection: View, call: CallRow) -> CallStory:
    """The whole story of one call."""
    tokens = call.tokens_estimated if call.tokens_billed is None else call.tokens_billed
    facts = {
        "state": str(call.state),
        "asked_for_by": call.who,
        "inputs": call.inputs,
        "tokens_estimated": call.tokens_estimated,
        "tokens_billed": call.tokens_billed,
        "usd": ledger.usd(tokens, call.usd_per_million),
        "sent_at": iso(call.sent_at),
        "closed_at": iso(call.closed_at),
        "detail": call.detail,
    }
    lines = [
        {
            "line": line,
            "embedding_key": each.key.hex(),
            "outcome": OUTCOME_WORDS[each.outcome],
            "detail": each.detail,
            "also_in_batch": each.batch_ref,
        }
        for line, each in enumerate(calls.lines_of(connection, call.id))
    ]
    return CallStory(_ENDS[call.state], facts, _events([call]), {"lines": lines})
