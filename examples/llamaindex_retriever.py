"""A retriever for LlamaIndex:  python llamaindex_retriever.py voyage-jobs.toml "how do I renew a certificate?" """

import sys

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import voyage_jobs


class VoyageJobsRetriever(BaseRetriever):
    """The best `k` chunks of a project; a query engine takes it as it is."""

    def __init__(self, project: voyage_jobs.Project, k: int = 5) -> None:
        super().__init__()
        self._project, self._k = project, k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._project.search(query_bundle.query_str, k=self._k)
        return [
            NodeWithScore(
                node=TextNode(text=hit.text, metadata={"path": hit.path, "title": hit.title}), score=hit.score
            )
            for hit in hits
        ]


if __name__ == "__main__":
    for found in VoyageJobsRetriever(voyage_jobs.open(sys.argv[1])).retrieve(sys.argv[2]):
        print(found.node.metadata["path"], found.node.get_content()[:60])
