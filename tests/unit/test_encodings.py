"""Files that are no UTF-8: by the encoding that their source names, or by what they seem to be."""

from __future__ import annotations

import shutil

import pytest
from verify_doors import found
from world import World

from voyage_jobs.errors import ConfigError
from voyage_jobs.report.why import why
from voyage_jobs.steps.reading import reader_for

GERMAN = "Die Grüße aus München sind schön, und die Maße der Häuser ändern sich über Jahre. " * 4
FRENCH = (
    "L{0}été dernier, nous avons dîné près de l{0}hôtel : c{0}était très agréable. ".format(chr(0x2019)) * 4
)
POLISH = "Wczoraj byłem w mieście, gdzie kupiłem świeży chleb i żółty ser. Później wróciłem do domu. " * 4
JAPANESE = "これは日本語の文章です。文字コードはシフトジスです。機械が読むには名前が要ります。" * 4
FILES = {
    "utf8.txt": (GERMAN, "utf-8"),
    "german.txt": (GERMAN, "cp1252"),
    "french.txt": (FRENCH, "cp1252"),
    "polish.txt": (POLISH, "cp1250"),
    "japanese.txt": (JAPANESE, "shift_jis"),
    "little.txt": (GERMAN, "utf-16-le"),
    "big.md": ("# Titel\n\n" + GERMAN, "utf-16-be"),
    "marked.txt": (GERMAN, "utf-16"),
}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    for name, (text, encoding) in FILES.items():
        world.write(name, text.encode(encoding))
    return world


def said(world, encoding):
    return {"sources": [world.sections()["sources"][0] | {"encoding": encoding}]}


def words(world):
    joined = {}
    for row in world.table_rows("path", "text"):
        joined.setdefault(row["path"], []).append(row["text"])
    return {path: " ".join(parts).split() for path, parts in joined.items()}


def test_auto_reads_each_file_as_what_it_seems_to_be(world):
    world.run(**said(world, "auto"))
    assert words(world) == {name: text.split() for name, (text, _) in FILES.items()}
    assert found(world) == {}


def test_a_named_encoding_holds_for_all_files_without_a_mark(world):
    world.run(**said(world, "cp1252"))
    found = words(world)
    for name in ("german.txt", "french.txt", "marked.txt"):
        assert found[name] == FILES[name][0].split()
    assert found["utf8.txt"] != GERMAN.split()


def test_without_one_they_are_skipped_and_told_as_before_and_taken_once_it_is_set(world):
    world.run()
    assert words(world).keys() == {"utf8.txt", "marked.txt"}
    told = why(world.settings(), world.clock, str(world.docs / "german.txt"))
    assert told.reason == "undecodable"
    assert "encoding" in told.next
    paid = world.ledger.units()
    world.run(**said(world, "auto"))
    assert words(world).keys() == FILES.keys()
    assert world.ledger.units() > paid


@pytest.mark.parametrize("encoding", ["cp1250", "auto"])
def test_a_page_that_does_not_say_what_it_is_in_is_as_its_source_says(tmp_path, encoding):
    world = World(tmp_path)
    world.write("silent.html", f"<p>{POLISH}</p>".encode("cp1250"))
    world.write("told.html", f"<meta charset=cp1252><p>{GERMAN}</p>".encode("cp1252"))
    world.write("wrong.html", f"<meta charset=utf-8><p>{POLISH}</p>".encode("cp1250"))
    pages = {"include": ["*.html"]}
    world.run(sources=[world.sections()["sources"][0] | pages])
    assert words(world).keys() == {"told.html"}
    paid = world.ledger.units()
    world.run(sources=[world.sections()["sources"][0] | pages | {"encoding": encoding}])
    polish = POLISH.split()
    assert words(world) == {"silent.html": polish, "told.html": GERMAN.split(), "wrong.html": polish}
    assert world.ledger.units() > paid


def test_offsets_are_those_of_the_decoded_text_when_the_table_is_filled_again(world):
    world.run(**said(world, "auto"))
    before, paid = words(world), world.ledger.units()
    shutil.rmtree(world.data_dir / "lancedb")
    world.run(**said(world, "auto"))
    assert (words(world), world.ledger.units()) == (before, paid)


def test_bytes_that_are_no_text_are_refused_by_auto_too(tmp_path):
    world = World(tmp_path)
    world.write("a.txt", bytes(range(256)) * 40)
    world.write("b.txt", b"\x89PNG\r\n" + bytes(range(200, 256)) * 9)
    world.run(**said(world, "auto"))
    assert words(world) == {}


@pytest.mark.parametrize("name", ["nosuch", "base64", "a b,c=d"])
def test_a_name_that_is_no_encoding_is_a_mistake_in_the_configuration(tmp_path, name):
    world = World(tmp_path)
    with pytest.raises((ConfigError, ValueError), match="encoding"):
        world.settings(**said(world, name))


def test_what_is_asked_of_readers_is_in_the_identity_of_what_they_read(tmp_path):
    world = World(tmp_path)
    [source] = world.settings(**said(world, "cp1252")).sources
    assert reader_for(source, "a.md").options == {"data": "blanked", "encoding": "cp1252"}
    [source] = world.settings(**said(world, "Shift JIS")).sources
    assert source.encoding == "shift_jis"
