"""A retriever for LangChain:  python langchain_retriever.py voyage-jobs.toml "how do I renew a certificate?" """

import sys
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

import voyage_jobs


class VoyageJobsRetriever(BaseRetriever):
    """The best `k` chunks of a project, with path, title and section as metadata."""

    project: Any
    k: int = 5

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        del run_manager
        hits = self.project.search(query, k=self.k)
        return [
            Document(
                page_content=hit.text,
                metadata={"source": hit.path, "title": hit.title, "section": list(hit.section)},
            )
            for hit in hits
        ]


if __name__ == "__main__":
    retriever = VoyageJobsRetriever(project=voyage_jobs.open(sys.argv[1]))
    for document in retriever.invoke(sys.argv[2]):
        print(document.metadata["source"], document.page_content[:60])
