"""A retriever for LlamaIndex (`llama-index-core`): searches as `Project.search` does, whatever that comes to offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from voyage_jobs.integrations.facts import facts_of

if TYPE_CHECKING:
    from voyage_jobs.api.project import Project


class VoyageJobsRetriever(BaseRetriever):
    """The `k` best chunks of a project as nodes, with their score.

    `search` are more arguments of `Project.search`, such as `source="docs", rerank=True`. With `expand`, a node's text
    is the hit with its neighbours. Raises what `Project.search` raises.
    """

    def __init__(self, project: Project, k: int = 5, **search: Any) -> None:
        self._project, self._k, self._search = project, k, search
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._project.search(query_bundle.query_str, self._k, **self._search)
        return [
            NodeWithScore(
                node=TextNode(id_=hit.chunk_id, text=hit.context, metadata=facts_of(hit)), score=hit.score
            )
            for hit in hits
        ]
