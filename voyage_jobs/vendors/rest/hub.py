"""Fetching a model's tokenizer from the Hugging Face hub, where it is published as `<owner>/<model>`.

A public file of some megabytes: no key goes along. It is checked before it replaces anything.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import httpx

from voyage_jobs.core.durable import writing
from voyage_jobs.errors import VoyageJobsError
from voyage_jobs.vendors.tokenizer import load
from voyage_jobs.version import __version__

HUB = "https://huggingface.co"
TIMEOUT_S = 20.0
MAX_BYTES = 100_000_000  # the largest known is 17 MB
_BY_HAND = "Fetch it elsewhere, and name the file in [{section}] tokenizer; until then tokens are estimated."


class NoTokenizerError(VoyageJobsError):
    """The hub cannot be reached, has no tokenizer of this name, or gave something else."""


def tokenizer_url(owner: str, model: str, hub: str = HUB) -> str:
    """Where the tokenizer of a model is published."""
    return f"{hub.rstrip('/')}/{owner}/{quote(model, safe='')}/resolve/main/tokenizer.json"


def fetch_tokenizer(
    owner: str,
    model: str,
    target: Path,
    *,
    section: str,
    hub: str = HUB,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Put the model's tokenizer into `target` and return its size in bytes.

    Raises NoTokenizerError, with `target` untouched. `section` is that of the provider's settings, for messages;
    `transport` stands in for the network in tests.
    """
    url, by_hand = tokenizer_url(owner, model, hub), _BY_HAND.format(section=section)
    target.parent.mkdir(parents=True, exist_ok=True)
    incoming = target.with_name(target.name + ".incoming")
    try:
        size = _download(url, incoming, transport, by_hand)
        load(incoming)
        incoming.replace(target)
    except httpx.HTTPError as exc:
        raise NoTokenizerError(
            f"{url} cannot be fetched: {str(exc) or type(exc).__name__}.", hint=by_hand
        ) from exc
    except ValueError as exc:
        raise NoTokenizerError(f"What {url} gave is not a tokenizer.", hint=by_hand) from exc
    finally:
        incoming.unlink(missing_ok=True)
    return size


def _download(url: str, path: Path, transport: httpx.BaseTransport | None, by_hand: str) -> int:
    size = 0
    headers = {"user-agent": f"voyage-jobs/{__version__}"}
    with (
        httpx.Client(
            timeout=TIMEOUT_S, follow_redirects=True, headers=headers, transport=transport
        ) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.status_code != 200:
            raise NoTokenizerError(f"{url} answers {answer.status_code}.", hint=by_hand)
        with writing(path, private=True) as out:
            for part in answer.iter_bytes():
                size += len(part)
                if size > MAX_BYTES:
                    raise NoTokenizerError(f"{url} is larger than any tokenizer.", hint=by_hand)
                out.write(part)
    return size
