"""A provider in memory that is unlike Voyage where providers differ: the port's second implementation, for tests.

Every line names its model itself. The list of jobs shows nothing of what a job was given, a job may take as long as it
likes, and a create call that is repeated with its token gives the job of the first. A job for which there is no room
ends as `rejected`, which is nobody's fault.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson

from voyage_jobs.core import durable
from voyage_jobs.core.clock import US
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.core.tokens import estimate_tokens
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    InputFileMissingError,
    NotSentError,
    RefusedError,
    VendorError,
)
from voyage_jobs.vendors.base import (
    Access,
    Embedded,
    Flaw,
    KeyDoubt,
    Limits,
    Model,
    Traits,
    Vendor,
    Wanted,
)
from voyage_jobs.vendors.no_jobs import NoJobs
from voyage_jobs.vendors.remote import (
    Blame,
    Downloaded,
    JobError,
    JobSpec,
    Phase,
    RemoteBatch,
    RemoteFile,
    Verdict,
)
from voyage_jobs.vendors.result_block import (
    BlockBuilder,
    Expectation,
    GoodLine,
    LineOutcome,
    LineProblem,
    ResultBlock,
)
from voyage_jobs.vendors.tokenizer import TokenCounter

JOB_S = 60.0
"""How long a job takes."""
FULL_S = 600.0
_PHASES = {
    "waiting": Phase.OPEN,
    "stopping": Phase.STOPPING,
    "done": Phase.ENDED_OK,
    "rejected": Phase.FAILED,
    "stopped": Phase.CANCELLED,
}
_MODEL = Model("abacus-1", EMBEDDINGS, 100_000, (8, 16), False, 50_000, 1.0, True, batch_share=0.5)


class Abacus:
    """What is known of it without asking."""

    name = "abacus"
    title = "Abacus"
    limits = Limits(inputs=1_000, jobs_in_flight=5, tokens_in_flight=1_000_000, window_s=None)
    traits = Traits(lists_metadata=False, idempotent_create=True)
    prices_as_of = "2026-11"

    def find(self, model: str) -> Model | None:
        return _MODEL if model == _MODEL.name else None

    def flaws(self, profile: Profile) -> Iterator[Flaw]:
        if profile.endpoint != EMBEDDINGS:
            yield Flaw("endpoint", f"{self.title} has no windows.")

    def doubts(self, profile: Profile) -> list[str]:
        return [] if self.find(profile.model) else [f"{profile.model} is not known."]

    def key_doubt(self, key: str, where: str, host: str) -> KeyDoubt | None:
        return None

    def params(self, profile: Profile, encoding: str) -> dict[str, Any]:
        return {"model": profile.model, "numbers": profile.dimension}

    def line(
        self, custom_id: str, texts: Sequence[str], profile: Profile, params: Mapping[str, Any]
    ) -> bytes:
        [text] = texts
        return orjson.dumps({"id": custom_id, **self.params(profile, ""), "text": text}) + b"\n"

    def asked_in(self, line: bytes) -> Wanted | None:
        read = orjson.loads(line)
        return Wanted(read["id"], [read["text"]]) if "text" in read else None

    def answered_in(self, line: bytes, profile: Profile) -> tuple[str, int] | None:
        return orjson.loads(line)["id"], 1

    def read(self, path: Path, expectation: Expectation) -> Iterator[ResultBlock]:
        with open(path, "rb") as file:
            yield from self._blocks(file, expectation)

    def _blocks(self, lines: io.BufferedIOBase, expectation: Expectation) -> Iterator[ResultBlock]:
        rows = [orjson.loads(line) for line in lines]
        block = BlockBuilder(expectation, max(1, len(rows)))
        for number, row in enumerate(rows, start=1):
            if expectation.count_of(row["id"]) is None:
                block.add(LineProblem(number, row["id"], LineOutcome.FOREIGN, "foreign"))
            elif "vector" in row:
                vector = np.array([row["vector"]], expectation.profile.storage_dtype)
                block.add(GoodLine(row["id"], vector, row["tokens"]))
            else:
                block.add(LineProblem(number, row["id"], LineOutcome.REFUSED, "no", message=row["error"]))
        yield block.done()

    def result_lines(self, answer: bytes, wanted: Sequence[Wanted], profile: Profile) -> Iterator[bytes]:
        if answer.count(b"\n") != len(wanted):
            raise BadAnswerError("it has another number of lines")
        yield from answer.splitlines(keepends=True)

    def phase(self, status: str) -> Phase:
        return _PHASES.get(status, Phase.UNKNOWN)

    def judge(self, failed: RemoteBatch) -> Verdict:
        codes = {error.code for error in failed.errors}
        if "full" in codes:
            return Verdict(Blame.NOBODY, FULL_S)
        return Verdict(Blame.JOB if "params" in codes else Blame.LINES)

    def tokenizer(self, path: Path) -> TokenCounter:
        return TokenCounter(path)

    def fetch_tokenizer(self, model: str, path: Path, hub: str | None) -> int:
        raise VendorError(f"{self.title} publishes no tokenizer.")

    def demand(self, place: str) -> None: ...

    def connect(self, access: Access) -> AbacusClient:
        return AbacusClient(access, SERVER)


@dataclass
class Job:
    """A job as the provider keeps it."""

    id: str
    spec: JobSpec
    created: float
    token: str
    stopped: bool = False
    errors: list[JobError] = field(default_factory=list)


@dataclass
class Server:
    """The provider's side. `rejects`: the codes with which the next jobs end; `loses`: the calls that get no answer."""

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    billed: dict[str, int] = field(default_factory=dict)
    rejects: list[str] = field(default_factory=list)
    loses: list[VendorError] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def reset(self) -> None:
        self.__dict__.update(vars(Server()))

    def put(self, name: str, content: bytes) -> str:
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = (name, content)
        return file_id


SERVER = Server()


def vector_of(text: str, numbers: int) -> list[float]:
    """A direction of length 1 that the text decides."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    found = np.random.default_rng(seed).normal(size=numbers)
    return [float(n) for n in found / np.linalg.norm(found)]


class AbacusClient:
    """The calls, to a server in memory."""

    name = "Abacus"

    def __init__(self, access: Access, server: Server) -> None:
        self.access = access
        self.server = server
        self.max_retry_after_s = access.max_retry_after_s
        self.skipped_entries = 0
        self.give_up_at: float | None = None
        self.send_by: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def _called(self, call: str) -> None:
        if self.give_up_at is not None and self.access.clock.mono() >= self.give_up_at:
            raise NotSentError(f"Abacus was not asked to {call}: the deadline has passed.")
        if self.send_by is not None and self.access.clock.uptime() > self.send_by:
            raise NotSentError(f"The call to {call} was never sent to Abacus: it is too late for it.")
        self.server.calls.append(call)
        if not self.access.key().startswith("pa-"):
            raise AuthError("Abacus refuses the API key.", status=401)

    # --- files ---

    def upload(self, path: Path, filename: str) -> RemoteFile:
        self._called("upload")
        return self._file(self.server.put(filename, path.read_bytes()))

    def _file(self, file_id: str) -> RemoteFile:
        if file_id not in self.server.files:
            raise RefusedError("Abacus has no such file.", status=404)
        name, content = self.server.files[file_id]
        return RemoteFile(file_id, len(content), name, None)

    def list_files(self) -> Iterator[RemoteFile]:
        self._called("list_files")
        yield from [self._file(file_id) for file_id in self.server.files]

    def get_file(self, file_id: str) -> RemoteFile:
        self._called("get_file")
        return self._file(file_id)

    def delete_file(self, file_id: str) -> bool:
        self._called("delete_file")
        self.server.files.pop(file_id, None)
        return True

    def download(
        self,
        file_id: str,
        dest: Path,
        *,
        expected_bytes: int | None,
        on_progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        self._called("download")
        self._file(file_id)
        content = self.server.files[file_id][1]
        with durable.writing(dest, private=True) as out:
            out.write(content)
        return Downloaded(len(content), hashlib.sha256(content).hexdigest(), content.count(b"\n"))

    # --- jobs ---

    def create_batch(self, job: JobSpec) -> RemoteBatch:
        self._called("create_batch")
        if job.input_file_id not in self.server.files:
            raise InputFileMissingError("Abacus does not find the input file.", status=404)
        found = next((each for each in self.server.jobs.values() if each.token == job.token), None)
        if found is None:
            found = Job(f"job-{len(self.server.jobs) + 1}", job, self.access.clock.wall(), job.token)
            self.server.jobs[found.id] = found
            if self.server.rejects:
                found.errors = [JobError(self.server.rejects.pop(0), None, "not now")]
        if self.server.loses:
            raise self.server.loses.pop(0)
        return self._job(found)

    def list_batches(self) -> Iterator[RemoteBatch]:
        self._called("list_batches")
        yield from [self._job(job) for job in self.server.jobs.values()]

    def get_batch(self, batch_id: str) -> RemoteBatch:
        self._called("get_batch")
        if batch_id not in self.server.jobs:
            raise RefusedError("Abacus has no such job.", status=404)
        return self._job(self.server.jobs[batch_id])

    def cancel_batch(self, batch_id: str) -> RemoteBatch:
        job = self.server.jobs[batch_id]
        self._called("cancel_batch")
        job.stopped = job.stopped or self.access.clock.wall() < job.created + JOB_S
        return self._job(job)

    def _job(self, job: Job) -> RemoteBatch:
        over = self.access.clock.wall() >= job.created + JOB_S
        status = ("stopped" if over else "stopping") if job.stopped else "done" if over else "waiting"
        if job.errors:
            status = "rejected"
        output = f"{job.id}-out"
        if (
            status == "done"
            and output not in self.server.files
            and job.spec.input_file_id in self.server.files
        ):
            self.server.files[output] = ("results", self._run(self.server.files[job.spec.input_file_id][1]))
        return RemoteBatch(
            job.id,
            status,
            ABACUS.phase(status),
            input_file_id=job.spec.input_file_id,
            output_file_id=output if status == "done" else None,
            created_at_us=int(job.created * US),
            errors=job.errors,
        )

    def _run(self, content: bytes) -> bytes:
        """What the lines of an input file are answered with."""
        return b"".join(
            orjson.dumps(self._answer(orjson.loads(line))) + b"\n" for line in content.splitlines()
        )

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        if "forbidden" in row["text"]:
            return {"id": row["id"], "error": "a forbidden word"}
        self.server.billed[row["id"]] = self.server.billed.get(row["id"], 0) + 1
        tokens = estimate_tokens(row["text"])
        return {"id": row["id"], "vector": vector_of(row["text"], row["numbers"]), "tokens": tokens}

    # --- at once ---

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        self._called("embed_now")
        return self._run(
            b"".join(ABACUS.line(each.custom_id, each.texts, profile, params) for each in wanted)
        )

    def embed(self, texts: Sequence[str], profile: Profile) -> Embedded:
        self._called("embed")
        vectors = np.array([vector_of(text, profile.dimension) for text in texts], profile.storage_dtype)
        return Embedded(vectors, sum(map(estimate_tokens, texts)))

    def probe(self) -> int | None:
        self._called("probe")
        return None

    def vendor_now_us(self) -> int | None:
        return None


class AbacusNow(Abacus):
    """The same without jobs: it answers at once, and that is all it does."""

    name = "abacus-now"
    traits = Traits(sync_only=True)

    def connect(self, access: Access) -> AbacusClient:
        return NowClient(access, SERVER)


class NowClient(NoJobs, AbacusClient):
    """Its calls. `Server.loses` are errors of the next synchronous calls; a text with `unbearable` is refused."""

    def embed_now(self, wanted: Sequence[Wanted], params: Mapping[str, Any], profile: Profile) -> bytes:
        if any("unbearable" in text for each in wanted for text in each.texts):
            self._called("embed_now")
            raise RefusedError("Abacus cannot bear a text.", status=400)
        if self.server.loses:
            self._called("embed_now")
            raise self.server.loses.pop(0)
        return super().embed_now(wanted, params, profile)


ABACUS: Vendor = Abacus()
NOW: Vendor = AbacusNow()
