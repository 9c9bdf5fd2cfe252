"""`mcp`: a real client over both transports; four tools that change nothing, for those who may ask."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from test_serve import Process
from world import KEY, World

from voyage_jobs.cli.main import cli
from voyage_jobs.errors import ConfigError
from voyage_jobs.mcp.tools import Tools

TOKEN = "a-token-that-is-long-enough"
SOUP = "# Soup\n\nBoil water.\n\n## Leeks\n\nAdd leeks and potatoes.\n\n## Salt\n\nA pinch.\n"
NOBODY = "http://127.0.0.1:1/v1"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A table of two documents, one of them long, at a provider that does not answer any more."""
    made = World(tmp_path_factory.mktemp("world"), dimension=256, voyage={"base_url": NOBODY})
    made.write("soup.md", SOUP)
    parts = [f"## Part {n}\n\n" + f"Carrots of part {n} are peeled and cut. " * 40 for n in range(30)]
    made.write("guides/carrots.md", "# Carrots\n\n" + "\n\n".join(parts))
    made.run()
    return made


def over_pipe(world: World, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    config = str(world.config_file())
    root = str(Path(__file__).parents[2])
    started = StdioServerParameters(
        command=sys.executable,
        args=["-m", "voyage_jobs", "--config", config, "mcp"],
        env={"VOYAGE_API_KEY": KEY},
        cwd=root,
    )

    async def main() -> Any:
        async with Client(started, read_timeout_seconds=60) as client:
            return await ask(client)

    return asyncio.run(main())


def over_http(url: str, token: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def main() -> Any:
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
            async with Client(streamable_http_client(url, http_client=http)) as client:
                return await ask(client)

    return asyncio.run(main())


def told(result: Any) -> dict[str, Any]:
    """What a tool answered, and the same as text."""
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content
    found: dict[str, Any] = result.structured_content
    return found


async def everything(client: Any) -> dict[str, Any]:
    """One round through all tools, as a model might make it."""
    listed = await client.list_tools()
    return {
        "tools": {tool.name: tool for tool in listed.tools},
        "search": told(await client.call_tool("search", {"query": "leeks"})),
        "filtered": told(await client.call_tool("search", {"query": "peeled", "path": "guides/*", "k": 3})),
        "none": told(await client.call_tool("search", {"query": "peeled", "where": "path = 'soup.md'"})),
        "expanded": told(await client.call_tool("search", {"query": "peeled", "k": 1, "expand": "section"})),
        "section": told(
            await client.call_tool("read", {"source": "docs", "path": "soup.md", "section": "leeks"})
        ),
        "whole": told(await client.call_tool("read", {"source": "docs", "path": "soup.md"})),
        "documents": told(await client.call_tool("list_documents", {})),
        "one": told(await client.call_tool("list_documents", {"glob": "guides/**", "limit": 1})),
        "status": told(await client.call_tool("status", {})),
        "wrong": [
            await client.call_tool("search", {"query": " "}),
            await client.call_tool("search", {"query": "a", "k": 0}),
            await client.call_tool("search", {"query": "a", "where": "1=1) OR (1=1"}),
            await client.call_tool("search", {"query": "a", "source": "nope"}),
            await client.call_tool("search", {"query": "a", "since": "yesterday"}),
            await client.call_tool("read", {"source": "docs", "path": "it's.md"}),
            await client.call_tool("read", {"source": "docs", "path": "soup.md", "section": "Pepper"}),
            await client.call_tool("read", {"source": "docs", "path": "soup.md", "start": 10_000}),
            await client.call_tool("list_documents", {"source": "nope"}),
            await client.call_tool("write", {}),
        ],
    }


def check(found: dict[str, Any]) -> None:
    assert set(found["tools"]) == {"search", "read", "list_documents", "status"}
    assert all(tool.annotations.read_only_hint for tool in found["tools"].values())
    assert found["search"]["hits"][0]["path"] == "soup.md"
    assert found["search"]["hits"][0]["section"] == "Soup > Leeks"
    assert found["search"]["mode"] == "words"
    assert "could not be reached" in found["search"]["warnings"][0]
    assert {hit["path"] for hit in found["filtered"]["hits"]} == {"guides/carrots.md"}
    assert (len(found["filtered"]["hits"]), found["filtered"]["more"]) == (3, True)
    assert found["none"]["hits"] == []
    assert found["expanded"]["hits"][0]["path"] == "guides/carrots.md"
    assert found["section"]["text"] == "## Leeks\n\nAdd leeks and potatoes."
    assert found["whole"]["text"] == SOUP.strip()
    assert found["whole"]["next"] is None
    assert [each["path"] for each in found["documents"]["documents"]] == ["guides/carrots.md", "soup.md"]
    assert (len(found["one"]["documents"]), found["one"]["total"]) == (1, 1)
    assert found["status"]["sources"][0]["name"] == "docs"
    assert all(result.is_error for result in found["wrong"])
    said = [result.content[0].text for result in found["wrong"]]
    assert "Traceback" not in str(said)
    for each in (said[3], said[8]):
        assert "There is no source 'nope' in the configuration; there is docs." in each
    assert "It has Soup, Soup > Leeks, Soup > Salt." in said[6]


def test_over_standard_input_and_output(world) -> None:
    before = files(world)
    check(over_pipe(world, everything))
    assert files(world) == before


def files(world: World) -> dict[Path, int]:
    """When each file of the data folder was written to, but for what SQLite keeps for those who only read."""
    found = (path for path in world.data_dir.rglob("*") if path.is_file() and path.suffix != ".db-shm")
    return {path: path.stat().st_mtime_ns for path in found}


def test_over_http_with_the_pages_token_and_not_without(world) -> None:
    with Process(
        world, "mcp", "--http", "127.0.0.1:0", environ={"VOYAGE_JOBS_SERVER_TOKEN": TOKEN}
    ) as process:
        url = process.until(r"at (http://\S+/mcp)")[1]
        check(over_http(url, TOKEN, everything))
        hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for headers in ({}, {"Authorization": "Bearer wrong-token-of-somebody"}):
            assert httpx.post(url, json=hello, headers=headers).status_code == 401
        cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        assert httpx.post(url, json=hello, headers=cross).status_code == 403
        assert httpx.post(url, json=hello, headers={"Host": "evil.example"}).status_code == 421
        process.until('"event": "page.token_rejected"')
        assert process.end(signal.SIGTERM) in (0, -signal.SIGTERM)


def test_a_long_document_is_read_in_parts(world) -> None:
    async def parts(client: Any) -> list[dict[str, Any]]:
        found, start = [], 0
        while start is not None:
            asked = {"source": "docs", "path": "guides/carrots.md", "start": start}
            found.append(told(await client.call_tool("read", asked)))
            start = found[-1]["next"]
        return found

    found = over_pipe(world, parts)
    assert len(found) > 1
    text = (world.docs / "guides/carrots.md").read_text()
    assert " ".join(part["text"] for part in found).split() == text.split()
    assert max(len(part["text"]) for part in found) < 25_000
    assert found[0]["end"] <= found[1]["start"]


def test_a_small_section_in_a_chunk_with_others_is_read_by_its_heading(tmp_path) -> None:
    made = World(tmp_path, dimension=256, splitting={"min_chars": 300})
    made.write("soup.md", SOUP)
    made.write("pie.org", "* Pie\n\nBake.\n\n** Crust\n\nFlour.\n")
    made.run()
    tools = Tools(made.settings(), made.clock)
    assert "A pinch." in tools.read("docs", "soup.md", "salt")["text"]
    assert "A pinch." in tools.read("docs", "soup.md", "Soup > Salt")["text"]
    assert "Flour." in tools.read("docs", "pie.org", "Crust")["text"]
    for wrong in ("Pepper", "Leeks > Pepper", "Pie > Salt", ""):
        with pytest.raises(ConfigError, match="has no section"):
            tools.read("docs", "soup.md", wrong)


def test_a_document_without_its_first_chunk_is_listed(tmp_path) -> None:
    made = World(tmp_path, dimension=256, faults={"line_refused": {"contains": "Boil"}})
    made.write("soup.md", SOUP.replace("Boil", "Boil and stir. " * 100).replace("Add", "Add more. " * 200))
    made.run()
    found = Tools(made.settings(), made.clock).list_documents()
    assert ([each["path"] for each in found["documents"]], found["total"]) == (["soup.md"], 1)


def test_the_model_is_that_of_the_table(world) -> None:
    settings = world.settings()
    other = settings.voyage.model_copy(update={"model": "voyage-4-lite"})
    tools = Tools(settings.model_copy(update={"voyage": other}), world.clock)
    assert tools.status()["model"] == settings.voyage.model


def test_a_set_of_items_that_comes_is_known(world) -> None:
    settings = world.settings()
    tools = Tools(settings, world.clock)
    folder = settings.paths.items / "notes"
    folder.mkdir(parents=True)
    try:
        assert tools.search("leeks", mode="words", source="notes")["hits"] == []
        assert [each["name"] for each in tools.status()["sources"]] == ["docs", "notes"]
    finally:
        folder.rmdir()


@pytest.mark.parametrize(
    ("listen", "said"),
    [("nowhere", "HOST:PORT"), ("0.0.0.0:0", "others can reach"), ("192.0.2.1:0", "others can reach")],
)
def test_it_listens_on_this_machine_only(world, listen, said) -> None:
    result = CliRunner().invoke(cli, ["--config", str(world.config_file()), "mcp", "--http", listen])
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_address_that_is_not_here_is_told(world) -> None:
    result = CliRunner().invoke(cli, ["--config", str(world.config_file()), "mcp", "--http", "[::1%nope]:0"])
    assert result.exit_code == 2
    assert "Cannot listen on ::1%nope:0" in result.stderr


def test_without_the_extra_it_says_what_to_install(world) -> None:
    config = str(world.config_file())
    code = (
        "import sys; sys.modules['mcp'] = None; from voyage_jobs.cli.main import main;"
        f"sys.argv = ['voyage-jobs', '--config', {config!r}, 'mcp']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'voyage-jobs[mcp]'" in done.stderr
    assert done.stdout == ""


def test_nobody_else_loads_the_sdk(world) -> None:
    code = (
        "import sys; from voyage_jobs.cli.main import cli; import voyage_jobs.cli.mcp;"
        "from voyage_jobs.retrieval.retriever import Retriever; import voyage_jobs.server.app;"
        "print([name for name in sys.modules if re.match('mcp|httpx2|jsonschema', name)])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", f"import re; {code}"], capture_output=True, text=True, check=True
    ).stdout
    assert re.fullmatch(r"\[\]\s*", shown)
