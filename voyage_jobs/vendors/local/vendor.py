"""The local model as a provider: it answers at once, for nothing. Lines and answers have the shape of Voyage's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import ConfigError
from voyage_jobs.vendors.base import Access, Client, Flaw, KeyDoubt, Limits, Model, Traits, Vendor, Wanted
from voyage_jobs.vendors.local.models import MODEL
from voyage_jobs.vendors.remote import Blame, Phase, RemoteBatch, Verdict
from voyage_jobs.vendors.voyage import lines

if TYPE_CHECKING:
    from voyage_jobs.vendors.result_block import Expectation, ResultBlock
    from voyage_jobs.vendors.tokenizer import TokenCounter


class Local:
    """What is known of it without loading it."""

    name = "local"
    title = "The local model"
    limits = Limits(inputs=128, jobs_in_flight=1, tokens_in_flight=1_000_000, window_s=None)
    traits = Traits(sync_only=True, unlisted_usd_per_million=0.0, needs_key=False, in_process=True)
    prices_as_of = "your own machine"

    asked_in = staticmethod(lines.asked_in)
    answered_in = staticmethod(lines.answered_in)

    def find(self, model: str) -> Model | None:
        """There is one."""
        return MODEL if model == MODEL.name else None

    def flaws(self, profile: Profile) -> Iterator[Flaw]:
        """It makes float vectors of one size, one for each text."""
        if profile.endpoint != EMBEDDINGS:
            yield Flaw("endpoint", f'the local model has no windows; choose "{EMBEDDINGS}".')
        if profile.model != MODEL.name:
            return
        if profile.dimension not in MODEL.dimensions:
            yield Flaw("dimension", f"{MODEL.name} makes vectors of {MODEL.dimensions[0]} numbers.", "model")
        if profile.dtype != "float":
            yield Flaw("dtype", f'{MODEL.name} makes only float vectors; choose "float".', "model")

    def doubts(self, profile: Profile) -> list[str]:
        """None: another model is in a folder of the operator's, who knows what it makes."""
        del profile
        return []

    def key_doubt(self, key: str, where: str, host: str) -> KeyDoubt | None:
        """It needs none."""
        del key, where, host
        return None

    def params(self, profile: Profile, encoding: str) -> dict[str, Any]:
        """The model."""
        del encoding
        return {"model": profile.model}

    def line(self, custom_id: str, texts: Sequence[str], profile: Profile) -> bytes:
        """A line with `custom_id` and `body`."""
        return lines.input_line(custom_id, profile.endpoint, texts)

    def read(self, path: Path, expectation: Expectation) -> Iterator[ResultBlock]:
        """A result file, block by block."""
        from voyage_jobs.vendors.voyage.results import read_results

        return read_results(path, expectation)

    def result_lines(self, answer: bytes, wanted: Sequence[Wanted], profile: Profile) -> Iterator[bytes]:
        """An answer, a line for each of its parts."""
        from voyage_jobs.vendors.voyage.answer import result_lines

        return result_lines(answer, wanted, profile)

    def phase(self, status: str) -> Phase:
        """There are no jobs."""
        del status
        return Phase.UNKNOWN

    def judge(self, failed: RemoteBatch) -> Verdict:
        """There are no jobs; what cannot be computed is a text's fault."""
        del failed
        return Verdict(Blame.LINES)

    def tokenizer(self, path: Path) -> TokenCounter:
        """Nothing is paid by the token, so the estimate does, unless a file is named."""
        from voyage_jobs.vendors.tokenizer import TokenCounter

        return TokenCounter(path)

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        """It is in the package already."""
        del model, path, hub
        raise ConfigError("The local model brings its tokenizer along: there is nothing to fetch.")

    def demand(self, place: str) -> None:
        """The libraries, and the model."""
        from voyage_jobs.vendors.local.files import demand

        demand(place)

    def connect(self, access: Access) -> Client:
        """The model is loaded when the first text comes."""
        from voyage_jobs.vendors.local.client import LocalClient

        return LocalClient(access)


LOCAL: Vendor = Local()
