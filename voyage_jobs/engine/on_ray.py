"""Tasks on a Ray cluster, which you have started: nothing here starts one.

A child process is the driver of Ray and forwards one task at a time: Ray may end the process that it drives from, and
that is never ours. In the cluster a task is carried out as it is here, by a child of a worker; there, too, it may be
lost or repeated.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, BinaryIO

import orjson

from voyage_jobs.engine import children
from voyage_jobs.engine.child import GATEWAY
from voyage_jobs.engine.children import Away, Lost, TooLong
from voyage_jobs.engine.waiting import Steps, finished
from voyage_jobs.errors import ConfigError

_TRIES = 3


def asking(address: str) -> Callable[[str, bytes, BinaryIO], Steps[dict[str, Any]]]:
    """What has a task carried out in the cluster at this address, as `children.ask` does here; it raises Away, too.

    Raises ConfigError where Ray is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            'engine.kind is "ray", and Ray is not installed.', hint="pip install 'voyage-jobs[ray]'"
        )

    def ask(task: str, request: bytes, file: BinaryIO) -> Steps[dict[str, Any]]:
        told = orjson.dumps([address, task, request.decode()])
        try:
            answer = yield from children.ask(GATEWAY, told, file)
        except (Lost, OSError) as exc:
            file.seek(0)
            raise Away(f"Ray at {address} carries out no task: {exc!r}") from None
        if "lost" in answer:
            code, late = answer["lost"]
            raise Lost(code, late=late)
        if "too_long" in answer:
            raise TooLong
        return answer

    return ask


# --- the child ---


def carry_out(request: bytes, file: BinaryIO) -> dict[str, Any]:
    """What a worker of the cluster answers."""
    address, task, inner = orjson.loads(request)
    import ray

    asked = _remote(address).remote(task, inner.encode(), file.read(), sys.path)
    answer: dict[str, Any] = ray.get(asked)
    return answer


@lru_cache(1)
def _remote(address: str) -> Any:
    import ray

    ray.init(address=address, log_to_driver=False, configure_logging=False)
    return ray.remote(max_retries=_TRIES)(_in_cluster)


# --- the worker ---


def _in_cluster(task: str, request: bytes, data: bytes, path: list[str]) -> dict[str, Any]:
    """What a child of this worker says. `path`: where the driver finds modules, for a worker on the same machine."""
    sys.path.extend(each for each in path if each not in sys.path and os.path.isdir(each))
    try:
        answer = finished(children.ask(task, request, io.BytesIO(data)))
    except Lost as lost:
        return {"lost": [lost.code, lost.late]}
    except TooLong:
        return {"too_long": True}
    return {name: value for name, value in answer.items() if name != "spent"}
