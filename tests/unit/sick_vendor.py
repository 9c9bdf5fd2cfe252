"""A vendor before which single things fail: one file, one job, one upload, while it answers all else as ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import orjson
from small_world import Small
from step_doors import all_batches, prose, turns

from voyage_jobs.core.states import Batch
from voyage_jobs.simulator.transport import SimulatorTransport
from voyage_jobs.state.batches import BatchRow
from voyage_jobs.steps.context import Context
from voyage_jobs.steps.pipeline import Pipeline

ONE_EACH = {"max_inputs": 1}
_GATEWAY = b"<html><body><h1>The server had a problem.</h1></body></html>"


def failure(status: int = 500) -> httpx.Response:
    """What a gateway says when it gives up."""
    return httpx.Response(status, headers={"content-type": "text/html"}, content=_GATEWAY)


def refusal(status: int, words: str) -> httpx.Response:
    """A refusal in the API's own JSON."""
    return httpx.Response(status, json={"detail": words})


@dataclass
class Sick:
    """What fails: calls of `method` whose path ends in `path`, and whose body holds `word`. `calls` counts them."""

    method: str
    path: str
    answer: Callable[[], httpx.Response | Exception] = failure
    word: bytes = b""
    calls: int = 0
    at: list[float] = field(default_factory=list)
    is_well: bool = False

    def strikes(self, request: httpx.Request) -> bool:
        """Whether this call is one of those."""
        if request.method != self.method or not request.url.path.endswith(self.path):
            return False
        return not self.word or self.word in request.read()


class SickTransport(SimulatorTransport):
    """The simulated provider behind what fails. `altered` changes answers that are given."""

    def __init__(self, simulator) -> None:
        super().__init__(simulator)
        self.sick: list[Sick] = []
        self.altered: Callable[[httpx.Request, httpx.Response], httpx.Response] = lambda _, answer: answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for each in self.sick:
            if each.is_well or not each.strikes(request):
                continue
            each.calls += 1
            each.at.append(self.simulator.clock.mono())
            answer = each.answer()
            if isinstance(answer, Exception):
                raise answer
            return answer
        return self.altered(request, super().handle_request(request))


class SickWorld(Small):
    """A small world whose vendor fails in single things, with `documents` of one text each, named 0.md, 1.md, ..."""

    def __init__(self, root, documents: int = 0, **options) -> None:
        super().__init__(root, **options)
        self.transport = SickTransport(self.sim)
        self.fill(documents)

    def fill(self, documents: int, first: int = 0) -> None:
        for number in range(first, documents):
            self.write(f"{number}.md", prose(f"number {number}"))

    def sick(self, method: str, path: str, answer=failure, word: bytes = b"") -> Sick:
        """From now on this fails."""
        found = Sick(method, path, answer, word)
        self.transport.sick.append(found)
        return found

    def jobs(self) -> list[dict]:
        """The provider's jobs as they are now, oldest first."""
        self.sim.settle()
        return sorted(self.sim.state()["batches"], key=lambda job: job["created_at"])

    def names(self) -> set[str]:
        """The documents that a reader of the table sees."""
        return set(self.served())


def running(world: SickWorld, context: Context, count: int) -> list[BatchRow]:
    """Take turns until so many jobs run; oldest first."""
    for _ in range(100):
        found = [batch for batch in all_batches(context) if batch.state is Batch.RUNNING]
        if len(found) == count:
            return found
        turns(world, context, 1)
    raise AssertionError(all_batches(context))


def turns_until(world: SickWorld, context: Context, over, *, idle_s: float = 0.0, most: int = 300) -> None:
    """Take turns until `over()`."""
    steps = Pipeline(context, eager=True, scan_once=True)
    for _ in range(most):
        if over():
            return
        if not steps.turn():
            world.clock.advance(max(idle_s, steps.idle_s()))
    raise AssertionError(f"still not so: {all_batches(context)} {world.log.events[-5:]}")


def batch_of(context: Context, ref: str) -> BatchRow:
    """A batch as it is now."""
    return next(batch for batch in all_batches(context) if batch.ref == ref)


def altered_json(path: str, change: Callable[[dict], dict]):
    """For `altered`: the JSON of answers to GET calls whose path holds `path`, and is no file's content, changed."""

    def alter(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        place = request.url.path
        if request.method != "GET" or path not in place or place.endswith("/content") or answer.is_error:
            return answer
        body = orjson.dumps(change(orjson.loads(answer.read())))
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return httpx.Response(answer.status_code, headers=kept, content=body, request=request)

    return alter


def altered_content(change: Callable[[bytes], bytes]):
    """For `altered`: the content of result files, changed, as if it had left the provider so."""

    def alter(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/content") or answer.is_error:
            return answer
        return httpx.Response(answer.status_code, content=change(answer.read()), request=request)

    return alter
