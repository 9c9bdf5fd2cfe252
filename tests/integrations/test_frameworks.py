"""The retrievers and the store, with the real frameworks, over a table that was published."""

from __future__ import annotations

import json
from typing import Any

import pytest
from world import World

from voyage_jobs.api.project import Project
from voyage_jobs.simulator.vectors import Embedder

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

SOUP = "---\nlang: de\n---\n# Soup\n\nBoil water.\n\n## Leeks\n\nAdd leeks and potatoes."


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("world"), dimension=256)
    made.write("soup.md", SOUP)
    made.write("cert.md", "# Certificates\n\nRenew a certificate before it ends.")
    made.run()
    return made


@pytest.fixture
def project(world: World) -> Project:
    return Project(world.settings(), clock=world.clock, transport=world.transport)


# --- LangChain ---


def test_langchain_has_the_hits_with_their_facts(project) -> None:
    pytest.importorskip("langchain_core")
    from voyage_jobs.integrations.langchain import VoyageJobsRetriever

    found = VoyageJobsRetriever(project=project, k=2).invoke("leeks and potatoes")
    hits = project.search("leeks and potatoes", 2)
    assert [each.id for each in found] == [hit.chunk_id for hit in hits]
    assert [each.page_content for each in found] == [hit.text for hit in hits]
    first = found[0].metadata
    assert (first["path"], first["section"], first["front_matter"]["lang"]) == (
        "soup.md",
        ["Soup", "Leeks"],
        "de",
    )
    assert first["score"] == hits[0].score
    assert json.loads(json.dumps(first)) == first


def test_langchain_filters_reranks_and_expands(project, world) -> None:
    pytest.importorskip("langchain_core")
    from voyage_jobs.integrations.langchain import VoyageJobsRetriever

    narrow = {"where": "path = 'cert.md'", "mode": "words", "rerank": True}
    before = len(world.transport.requests)
    found = VoyageJobsRetriever(project=project, search=narrow).invoke("leeks, or to renew")
    assert [each.metadata["path"] for each in found] == ["cert.md"]
    assert [each.path for each in list(world.transport.requests)[before:]] == ["/v1/rerank"]
    wide = VoyageJobsRetriever(project=project, k=1, search={"expand": 9}).invoke("leeks and potatoes")
    assert "Boil water." in wide[0].page_content


class Query:
    """What embeds queries for the table, as a user would bring it."""

    def embed_query(self, text: str) -> list[float]:
        found: list[float] = Embedder("voyage-4", 256).embed([text])[0].tolist()
        return found


def test_the_store_of_langchain_lancedb_reads_the_table_and_only_that(world) -> None:
    pytest.importorskip("langchain_lancedb")
    from voyage_jobs.integrations.langchain_lancedb import PublishedTable

    lance = world.settings().lancedb
    store: Any = PublishedTable(embedding_function=Query(), uri=lance.uri, table_name=lance.table)
    [(found, distance)] = store.similarity_search_with_score("Add leeks and potatoes.", k=1)
    assert (found.metadata["path"], found.metadata["section"]) == ("soup.md", "Soup > Leeks")
    assert 0 <= distance < 0.5
    [other] = store.as_retriever(
        search_kwargs={"k": 3, "filter": "source = 'docs' AND path = 'cert.md'"}
    ).invoke("leeks")
    assert other.page_content.startswith("# Certificates")
    for refused in (lambda: store.add_texts(["x"]), lambda: store.delete(["x"])):
        with pytest.raises(TypeError, match="only read"):
            refused()
    nowhere: Any = PublishedTable(embedding_function=Query(), uri=lance.uri, table_name="none")
    assert nowhere.similarity_search("leeks") == []


# --- LlamaIndex ---


def test_llama_index_has_the_hits_with_their_scores(project) -> None:
    pytest.importorskip("llama_index.core")
    from voyage_jobs.integrations.llama_index import VoyageJobsRetriever

    found = VoyageJobsRetriever(project, 2, source="docs").retrieve("leeks and potatoes")
    hits = project.search("leeks and potatoes", 2, source="docs")
    assert [each.node.node_id for each in found] == [hit.chunk_id for hit in hits]
    assert [each.score for each in found] == [hit.score for hit in hits]
    assert found[0].node.metadata["section"] == ["Soup", "Leeks"]
    assert found[0].node.get_content() == hits[0].text
    reranked = VoyageJobsRetriever(project, 1, mode="words", rerank=True, path="c*").retrieve("renew")
    assert reranked[0].node.metadata["path"] == "cert.md"
