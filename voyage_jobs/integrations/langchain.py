"""A retriever for LangChain (`langchain-core`): searches as `Project.search` does, whatever that comes to offer."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from voyage_jobs.integrations.facts import facts_of


class VoyageJobsRetriever(BaseRetriever):
    """The `k` best chunks of a project as documents.

    `project` is a `voyage_jobs.Project`, `search` more arguments of its method of that name, such as
    `{"source": "docs", "rerank": True}`. With `expand`, a document's text is the hit with its neighbours. Raises what
    `Project.search` raises.
    """

    project: Any
    k: int = 5
    search: dict[str, Any] = {}  # noqa: RUF012 - pydantic gives each its own

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        hits = self.project.search(query, self.k, **self.search)
        return [Document(page_content=hit.context, metadata=facts_of(hit), id=hit.chunk_id) for hit in hits]
