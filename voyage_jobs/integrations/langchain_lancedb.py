"""The published table as a vector store of `langchain-lancedb`, which expects JSON text where the table has a struct.

For code that wants a `VectorStore`. What only needs passages is better served by `langchain.VoyageJobsRetriever`, which
also finds words, embeds queries as the table needs it, and reranks.
"""

from __future__ import annotations

from typing import Any, NoReturn

import langchain_lancedb
from langchain_core.documents import Document

_READ_ONLY = "The table belongs to voyage-jobs and is only read here: put texts into its sources instead."


class PublishedTable(langchain_lancedb.LanceDB):
    """Searches the table by vectors, with cosine as the distance; `filter` is SQL over its columns.

    `embedding_function` must embed queries by the model of the table, with `input_type="query"`. Only for float
    vectors: LanceDB cannot compare the others.
    """

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: str | None = None,  # noqa: A002 - as the framework calls it
        **_: Any,
    ) -> list[tuple[Document, float]]:
        """The nearest documents, each with its distance: smaller is nearer. Empty where there is no table."""
        table, _created = self._get_or_create_table()
        if table is None:
            return []
        asked = table.search(self._embedding_function.embed_query(query), vector_column_name="vector")
        if filter is not None:
            asked = asked.where(filter, prefilter=True)
        return [
            (Document(id=row["id"], page_content=row["text"], metadata=row["metadata"]), row["_distance"])
            for row in asked.distance_type("cosine").limit(k).to_list()
        ]

    def add_texts(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: `TypeError`."""
        raise TypeError(_READ_ONLY)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: `TypeError`."""
        raise TypeError(_READ_ONLY)
