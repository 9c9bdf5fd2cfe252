"""In which encoding the vectors of a job are asked for: base64, or JSON numbers where the provider refuses that.

The provider documents base64 for calls that are answered at once, and is silent about jobs. So where the setting is
"auto" one job asks for base64, and until its results are read the others ask for numbers: never more than one job is at
stake. What is learnt is kept per address and endpoint. A refusal costs nothing, since no line ran. Results are read in
either encoding, whichever was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voyage_jobs.config.provider import request_params
from voyage_jobs.config.provider_sections import AUTO_ENCODING
from voyage_jobs.core.states import Batch
from voyage_jobs.state import batches, meta
from voyage_jobs.state.batch_lines import Settled
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.state.outcomes import REFUSED, TRANSIENT
from voyage_jobs.state.store import Tx
from voyage_jobs.steps.context import Context

if TYPE_CHECKING:
    from sqlalchemy import Connection

BASE64, NUMBERS = "base64", "numbers"
_WORDS = ("encoding_format", BASE64)
_UNREAD = (Batch.CREATING, Batch.RUNNING, Batch.ENDED)


def job_params(context: Context, connection: Connection) -> dict[str, Any]:
    """All of a job's request but its texts, for a job that is created now."""
    if not _is_automatic(context):
        return request_params(context.settings)
    known = _known(context, connection)
    trying = known is None and not any(map(_asks, batches.in_state(connection, *_UNREAD)))
    return request_params(context.settings, BASE64 if known == BASE64 or trying else "")


def call_params(context: Context) -> dict[str, Any]:
    """The same for a call that is answered at once, where base64 is documented."""
    return request_params(context.settings, BASE64 if _is_automatic(context) else None)


def accepted(context: Context, tx: Tx, batch: BatchRow) -> None:
    """Vectors came of a job. If it had asked for base64, others may ask for it, even if these are numbers."""
    if _is_about_it(context, batch) and _known(context, tx.connection) is None:
        meta.put(tx, _key(context), BASE64)
        context.log.info("encoding.accepted", ref=batch.ref)


def is_why(context: Context, tx: Tx, batch: BatchRow, words: str) -> bool:
    """Whether a job may have been refused for its encoding: then the next one asks for numbers.

    Before base64 was ever accepted any refusal may be about it; later one that names it. If the same batch is refused
    with numbers, too, the encoding was not the reason, and is tried again.
    """
    known = _known(context, tx.connection)
    if not _is_about_it(context, batch):
        if known == _refused_for(batch):
            meta.forget(tx, _key(context))
        return False
    if known == BASE64 and not any(word in words for word in _WORDS):
        return False
    meta.put(tx, _key(context), _refused_for(batch))
    context.log.warning("encoding.refused", ref=batch.ref, error=words)
    return True


def without_blame(context: Context, batch: BatchRow, settled: list[Settled]) -> list[Settled]:
    """The outcomes of a job whose every line was refused, perhaps for its encoding: then all are asked for again.

    To be called again with the same outcomes changes nothing.
    """
    if not _is_about_it(context, batch) or not _all_refused(settled):
        return settled
    with context.store.write() as tx:
        blamed = is_why(context, tx, batch, settled[0].detail or "")
    return [replace(each, outcome=TRANSIENT) for each in settled] if blamed else settled


def _all_refused(settled: Sequence[Settled]) -> bool:
    return bool(settled) and all(each.outcome == REFUSED for each in settled)


def _is_automatic(context: Context) -> bool:
    return context.settings.section.encoding_format == AUTO_ENCODING


def _is_about_it(context: Context, batch: BatchRow) -> bool:
    """Whether a batch is a job of this provider that asked for base64 without having been told to."""
    return batch.profile_id == context.profile_id and _is_automatic(context) and _asks(batch)


def _asks(batch: BatchRow) -> bool:
    return not batch.is_sync and f'"{BASE64}"' in batch.request_params


def _key(context: Context) -> str:
    return f"encoding:{context.settings.section.base_url}{context.profile.endpoint}"


def _known(context: Context, connection: Connection) -> str | None:
    return meta.get(connection, _key(context))


def _refused_for(batch: BatchRow) -> str:
    return f"{NUMBERS}:{batch.ref}"
