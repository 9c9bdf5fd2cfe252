"""Which operation a method and a path mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voyage_jobs.simulator.messages import ApiError


@dataclass(frozen=True)
class Route:
    """An operation and the id in its path, if it has one."""

    operation: str
    ident: str = ""


_ROUTES = [
    ("POST", r"/v1/files", "upload_file"),
    ("GET", r"/v1/files", "list_files"),
    ("POST", r"/v1/files/delete", "bulk_delete_files"),
    ("GET", r"/v1/files/([^/]+)", "retrieve_file"),
    ("DELETE", r"/v1/files/([^/]+)", "delete_file"),
    ("GET", r"/v1/files/([^/]+)/content", "file_content"),
    ("POST", r"/v1/batches", "create_batch"),
    ("GET", r"/v1/batches", "list_batches"),
    ("GET", r"/v1/batches/([^/]+)", "retrieve_batch"),
    ("POST", r"/v1/batches/([^/]+)/cancel", "cancel_batch"),
    ("POST", r"/v1/embeddings", "embeddings"),
    ("POST", r"/v1/contextualizedembeddings", "contextualized_embeddings"),
    ("POST", r"/v1/rerank", "rerank"),
    ("GET", r"/_storage/([^/]+)", "storage"),
]
_COMPILED = [(method, re.compile(pattern), operation) for method, pattern, operation in _ROUTES]


def find_route(method: str, path: str) -> Route:
    """The operation of a request. Raises ApiError 404 or 405."""
    known = False
    for wanted, pattern, operation in _COMPILED:
        match = pattern.fullmatch(path)
        if match is not None:
            if wanted == method:
                return Route(operation, match[1] if pattern.groups else "")
            known = True
    raise ApiError(405, "Method Not Allowed") if known else ApiError(404, "Not Found")
