"""A small server that answers OpenAI's `/v1/embeddings`, written from OpenAI's page and not from our client."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import httpx
import numpy as np

HTTP_OK, BAD, NO_KEY, NOT_FOUND = 200, 400, 401, 404


@dataclass
class OpenAIServer:
    """`next_answers` come before any other; a text with `unbearable` in it is refused. `key` None wants none.

    A request with a text that has a word of `breaks_at` in it gets that answer; any request, also one for the models,
    gets `is_out`.
    """

    model: str = "tiny"
    width: int = 8
    key: str | None = None
    seen: list[list[str]] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    next_answers: list[httpx.Response | Exception] = field(default_factory=list)
    breaks_at: dict[str, httpx.Response | Exception] = field(default_factory=dict)
    is_out: httpx.Response | None = None

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.headers.append(request.headers)
        if self.is_out is not None:
            return self.is_out
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(NO_KEY, "Incorrect API key provided.")
        if request.method == "GET" and request.url.path == "/v1/models":
            return httpx.Response(HTTP_OK, json={"object": "list", "data": [{"id": self.model}]})
        if (request.method, request.url.path) != ("POST", "/v1/embeddings"):
            return _error(NOT_FOUND, "Not found.")
        body = json.loads(request.content)
        if body["model"] != self.model:
            return _error(NOT_FOUND, f"The model {body['model']} does not exist.")
        self.seen.append(body["input"])
        if self.next_answers:
            found = self.next_answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found
        for word, answer in self.breaks_at.items():
            if any(word in text for text in body["input"]):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        if any("unbearable" in text for text in body["input"]):
            return _error(BAD, "A text is too long.")
        rows = [
            {"object": "embedding", "index": n, "embedding": vector(text, self.width)}
            for n, text in enumerate(body["input"])
        ]
        tokens = sum(len(text.split()) for text in body["input"])
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return httpx.Response(
            HTTP_OK, json={"object": "list", "data": rows, "model": self.model, "usage": usage}
        )


def vector(text: str, width: int) -> list[float]:
    """A direction of length 1 that the text decides."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    found = np.random.default_rng(seed).normal(size=width)
    return [float(n) for n in found / np.linalg.norm(found)]


def _error(status: int, message: str) -> httpx.Response:
    return httpx.Response(
        status, json={"error": {"message": message, "type": "invalid_request_error", "code": None}}
    )
