"""The part of a `Vendor` whose lines and answers have the shape of Voyage's. Libraries are imported when used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voyage_jobs.core.profile import Profile
from voyage_jobs.vendors.base import Wanted
from voyage_jobs.vendors.remote import Blame, RemoteBatch, Verdict
from voyage_jobs.vendors.rest import lines

if TYPE_CHECKING:
    from voyage_jobs.vendors.result_block import Expectation, ResultBlock
    from voyage_jobs.vendors.tokenizer import TokenCounter


class JsonLines:
    """Inherited by Voyage and by all who answer as it does."""

    asked_in = staticmethod(lines.asked_in)
    answered_in = staticmethod(lines.answered_in)

    def line(
        self, custom_id: str, texts: Sequence[str], profile: Profile, params: Mapping[str, Any]
    ) -> bytes:
        """A line with `custom_id` and `body`."""
        del params
        return lines.input_line(custom_id, profile.endpoint, texts)

    def read(self, path: Path, expectation: Expectation) -> Iterator[ResultBlock]:
        """A result file, block by block."""
        from voyage_jobs.vendors.rest.results import read_results

        return read_results(path, expectation)

    def result_lines(self, answer: bytes, wanted: Sequence[Wanted], profile: Profile) -> Iterator[bytes]:
        """An answer that came at once, a line for each of its parts."""
        from voyage_jobs.vendors.rest.answer import result_lines

        return result_lines(answer, wanted, profile)

    def judge(self, failed: RemoteBatch) -> Verdict:
        """Validation looks at lines alone: in-flight limits are refused at the create call already."""
        del failed
        return Verdict(Blame.LINES)

    def tokenizer(self, path: Path) -> TokenCounter:
        """Counts as this `tokenizer.json` does, which is how Voyage publishes its own."""
        from voyage_jobs.vendors.tokenizer import TokenCounter

        return TokenCounter(path)

    def demand(self, place: str) -> None:
        """Nothing."""
        del place
