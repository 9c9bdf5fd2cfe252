"""A table in object storage: all works there, no secret is written down, a store that fails loses nothing."""

from __future__ import annotations

import json
import random

import lance
import object_store
import pytest
from step_doors import prose
from table_rows import NAME, PROFILE, batch, put, version
from verify_doors import found
from world import World

from voyage_jobs import table as published
from voyage_jobs.config.load import parse_settings
from voyage_jobs.core.object_uri import ObjectUri
from voyage_jobs.core.redact import redact
from voyage_jobs.errors import ConfigError, EpochLostError, TableAwayError
from voyage_jobs.maintenance.backup import backup
from voyage_jobs.maintenance.doctor.object_storage import check_object_storage
from voyage_jobs.maintenance.export import export
from voyage_jobs.maintenance.restore import restore
from voyage_jobs.report.status import status
from voyage_jobs.steps.reprofile import BEGIN, reprofile
from voyage_jobs.steps.tidy import tend
from voyage_jobs.table import PublishedTable, Upkeep
from voyage_jobs.table.view import view_of

A, B, C, D = (("docs", f"{name}.md") for name in "abcd")
HASTE = {"client_max_retries": "1", "client_retry_timeout": "1"}
SECRET = object_store.CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture
def store(monkeypatch):
    """The store, to which credentials alone are in the environment."""
    here = object_store.store()
    for name, value in object_store.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return here


def options(store, **more):
    return {**store.options, "allow_http": "true", **more}


def world_at(store, tmp_path, place=None, more=None, **sections):
    lancedb = {"uri": str(place or store.place()), "storage_options": options(store, **(more or {}))}
    return World(tmp_path, lancedb=lancedb, **sections)


def opened_at(store, place, **more):
    uri = ObjectUri(place, options(store))
    return PublishedTable.open(uri, NAME, PROFILE, create=True, **more)


# --- settings ---


def toml(**given):
    values = ", ".join(f"{name} = {json.dumps(value)}" for name, value in given.items())
    return (
        '[[sources]]\nname = "docs"\npath = "."\n[lancedb]\nuri = "s3://bucket/x"\n'
        f"storage_options = {{ {values} }}\n"
    )


def test_options_go_along_with_the_address(tmp_path):
    settings = parse_settings(
        toml(aws_region="eu", allow_http=True, timeout=5), tmp_path / "x.toml", {"HOME": "/"}
    )
    uri = settings.lancedb.uri
    assert isinstance(uri, ObjectUri)
    assert uri == "s3://bucket/x"
    assert {"aws_region": "eu", "allow_http": "true", "timeout": "5"}.items() <= uri.options().items()


def test_options_may_come_from_the_environment(tmp_path):
    environ = {"HOME": "/", "VOYAGE_JOBS_LANCEDB__STORAGE_OPTIONS": '{"aws_region": "eu"}'}
    text = '[[sources]]\nname = "docs"\npath = "."\n[lancedb]\nuri = "gs://bucket"\n'
    assert parse_settings(text, tmp_path / "x.toml", environ).lancedb.uri.options()["aws_region"] == "eu"


@pytest.mark.parametrize(
    "name",
    [
        "aws_secret_access_key",
        "aws_access_key_id",
        "aws_session_token",
        "google_service_account_key",
        "azure_storage_account_key",
        "azure_storage_sas_key",
        "azure_client_secret",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name.upper()}_FILE") as told:
        parse_settings(toml(**{name: "tell-nobody-of-this"}), tmp_path / "x.toml", {"HOME": "/"})
    assert "tell-nobody" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"region": "eu"}, "unknown option"),
        ({"aws_endpoint": "https://me:pass@host"}, "user name or password"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(tmp_path, given, words):
    with pytest.raises(ConfigError, match=words):
        parse_settings(toml(**given), tmp_path / "x.toml", {"HOME": "/"})


def test_secrets_come_from_files_and_are_masked(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    file = tmp_path / "secret"
    file.write_text("one-secret-of-many\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(file))
    uri = ObjectUri("s3://bucket")
    assert uri.options()["aws_secret_access_key"] == "one-secret-of-many"
    assert "one-secret" not in redact("it is one-secret-of-many")
    file.write_text("another-secret-now\n")
    assert uri.options()["aws_secret_access_key"] == "another-secret-now"
    file.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        uri.options()
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        uri.options()


def test_systemds_credential_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (tmp_path / "aws_secret_access_key").write_text("of-systemd-itself")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert ObjectUri("s3://bucket").options()["aws_secret_access_key"] == "of-systemd-itself"


# --- everything works ---


def test_a_folder_is_published_searched_verified_and_exported(store, tmp_path):
    world = world_at(store, tmp_path)
    world.write("a.md", prose("owls", 3))
    world.write("b.md", prose("bats", 2))
    world.run()
    settings = world.settings()
    assert len(world.table_rows("path")) == 5

    view = view_of(settings.lancedb.uri, settings.lancedb.table)
    assert {row["path"] for row in view.by_words("owls", 5, None, lambda: True).rows} == {"a.md"}
    assert found(world) == {}
    assert export(settings, tmp_path / "rows.parquet").rows == 5
    assert status(settings, world.clock)["table"]["rows"] == 5

    world.remove("a.md")
    world.run()
    assert {row["path"] for row in world.table_rows("path")} == {"b.md"}
    assert published.TableStatsReader(settings.lancedb.uri, settings.lancedb.table).read().bytes > 0


def test_no_secret_is_in_the_state_the_log_or_the_table(store, tmp_path):
    world = world_at(store, tmp_path)
    world.write("a.md", prose("owls"))
    world.run()
    held = [
        path for path in world.data_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert held == []
    assert SECRET not in repr(world.log.events)
    assert SECRET not in repr(world.settings())
    assert SECRET not in repr(world.settings().lancedb.uri)


def test_other_vectors_replace_the_table_and_old_versions_go(store, tmp_path):
    world = world_at(store, tmp_path)
    world.write("a.md", prose("owls", 2))
    world.run()
    with world.worker(voyage={"output_dimension": 16}) as context:
        reprofile(context, {"do": BEGIN, "target": context.asked.to_json()}, "me")
        world.take_turns(context)
        tend(context)
    settings = world.settings(voyage={"output_dimension": 16})
    assert view_of(settings.lancedb.uri, settings.lancedb.table).profile.dimension == 16


def test_a_backup_has_the_table_and_a_restore_publishes_it_again(store, tmp_path):
    world = world_at(store, tmp_path / "one")
    world.write("a.md", prose("owls", 2))
    world.run()
    report = backup(world.settings(), world.clock, tmp_path / "saved", with_table=True)
    assert any((tmp_path / "saved" / "lancedb").rglob("*.manifest"))
    assert report.missing == []

    other = world_at(store, tmp_path / "two", seed=3)
    other.write("a.md", (world.docs / "a.md").read_text())
    restore(other.settings(), other.clock, tmp_path / "saved")
    calls = dict(other.sim.calls)
    other.run()
    assert len(other.table_rows("path")) == 2
    assert other.sim.calls.get("create_batch", 0) == calls.get("create_batch", 0)


# --- doctor ---


def checks(world):
    return [(each.verdict, each.why) for each in check_object_storage(world.settings(), world.clock)]


def test_doctor_finds_a_store_well_and_leaves_nothing_behind(store, tmp_path):
    place = store.place()
    [(verdict, why)] = checks(world_at(store, tmp_path, place))
    assert (str(verdict), "a second write is refused" in why) == ("good", True)
    assert object_store.files(place / "chunks.lance" / "") == {}


def test_doctor_refuses_a_store_that_overwrites(store, tmp_path):
    with store.failing(ignores_conditions=True):
        [(verdict, why)] = checks(world_at(store, tmp_path))
    assert (str(verdict), "could overwrite each other" in why) == ("bad", True)


def test_doctor_says_that_a_store_denies_access(store, tmp_path):
    with store.failing(denied=True):
        [(verdict, why)] = checks(world_at(store, tmp_path))
    assert (str(verdict), "cannot be used" in why, "privileges" in why) == ("bad", True, True)


def test_doctor_has_nothing_to_say_of_a_folder(tmp_path):
    assert checks(World(tmp_path)) == []


# --- a store that fails ---


@pytest.mark.parametrize("seed", range(2))
def test_publications_survive_a_store_that_fails(store, seed):
    place, chance = store.place(), random.Random(seed)
    table, expected = opened_at(store, place, owner="me", epoch=1), {}
    with store.failing(unavailable=0.15, cut=0.4) as struck:
        for step in range(10):
            flipped = {
                ("docs", f"{chance.randint(0, 6)}.md"): (f"e{step}", chance.randint(1, 4)) for _ in range(3)
            }
            put(table, flipped)
            expected |= flipped
    assert struck["unavailable"] > 0
    assert struck["cut"] > 0
    table = opened_at(store, place)
    rows = [
        row for found in table.keys(None, ["source", "path", "text", "chunk_id"]) for row in found.to_pylist()
    ]
    assert len(rows) == sum(chunks for _, chunks in expected.values())
    assert len({row["chunk_id"] for row in rows}) == len(rows)
    assert {(row["source"], row["path"]): row["text"].split()[0] for row in rows} == {
        document: edition for document, (edition, _) in expected.items()
    }


def test_a_publication_takes_few_calls(store):
    table = opened_at(store, store.place(), owner="me", epoch=1)
    for document in (A, B, C, D):  # a fragment each
        put(table, {document: ("one", 3)})
    for edition in ("two", "three", "four", "five"):
        store.calls.clear()
        put(table, {B: (edition, 3)})
        table.sync()
        assert sum(found.num_rows for found in table.keys([B])) == 3
        assert store.calls.total() <= 15, store.calls


def test_a_store_that_is_away_keeps_publishing_waiting_and_nothing_else(store, tmp_path):
    world = world_at(store, tmp_path, more=HASTE)
    world.write("a.md", prose("owls"))
    world.run()
    world.write("b.md", prose("bats"))
    with world.worker() as context:
        with store.failing(denied=True):
            world.take_turns(context, 60, quiet=False)
            world.clock.advance(600)
            world.take_turns(context, 60, quiet=False)
            told = status(world.settings(), world.clock)
        assert "table_away" in [problem["code"] for problem in told["problems"]]
        assert world.sim.calls["create_batch"] == 2  # it was sent and paid for meanwhile
        assert world.log.named("table.away")
        world.clock.advance(600)
        world.take_turns(context)
    assert {row["path"] for row in world.table_rows("path")} == {"a.md", "b.md"}
    assert "table_away" not in [each["code"] for each in status(world.settings(), world.clock)["problems"]]


def test_a_table_that_cannot_be_reached_is_not_taken_for_a_damaged_one(store, tmp_path):
    world = world_at(store, tmp_path, more=HASTE)
    world.write("a.md", prose("owls"))
    world.run()
    with store.failing(denied=True), pytest.raises(TableAwayError) as away, world.worker():
        pass
    assert (away.value.exit_code, "Nothing is lost" in away.value.hint) == (3, True)
    world.run()
    assert not world.log.named("table.set_aside")


def test_objects_that_are_gone_are_found_and_the_table_is_filled_again(store, tmp_path):
    place = store.place()
    world = world_at(store, tmp_path, place)
    world.write("a.md", prose("owls", 2))
    world.run()
    home = place / "chunks.lance"
    (lost,) = object_store.files(home / "data")
    store.delete(f"{home}/data/{lost}")
    creates = world.sim.calls["create_batch"]

    world.run()

    assert len(world.table_rows("path")) == 2
    assert world.sim.calls["create_batch"] == creates
    [aside] = world.log.named("table.set_aside")
    assert aside["kept_as"].startswith(f"{place}/chunks.lance.damaged-")


def test_cut_objects_are_found(store):
    place = store.place()
    table = opened_at(store, place)
    put(table, {A: ("one", 3)})
    (name,) = object_store.files(place / "chunks.lance" / "data")
    store.put(f"{place}/chunks.lance/data/{name}", b"short")
    assert published.check(ObjectUri(place, options(store)), NAME, PROFILE).reason == "torn"


def test_indexes_are_built_looked_at_and_dropped(store):
    place = store.place()
    table = opened_at(store, place)
    table.flip([A], [batch(version(A, "one", 300))])
    assert table.tend(Upkeep(words_from_rows=100)).words_index_built
    assert {each.column for each in table.indexes()} == {"text", "title", "path"}
    assert {(each.inside, each.damage) for each in table.indexes()} == {(300, "")}
    (gone, *_) = object_store.files(place / "chunks.lance" / "_indices")
    store.delete(f"{place}/chunks.lance/_indices/{gone}")
    assert table.index_faults()


# --- whose commits they are ---


@pytest.fixture(params=["folder", "store"])
def anywhere(request, tmp_path, store):
    return tmp_path if request.param == "folder" else ObjectUri(store.place(), options(store))


def of_start(anywhere, epoch):
    return PublishedTable.open(table_uri(anywhere), NAME, PROFILE, create=True, owner="state", epoch=epoch)


def test_each_commit_names_the_state_and_its_start(anywhere):
    table = of_start(anywhere, 7)
    number = put(table, {A: ("one", 2)})
    kept = {} if not isinstance(anywhere, ObjectUri) else {"storage_options": anywhere.options()}
    carried = lance.dataset(table.path[:], **kept).read_transaction(number).transaction_properties
    assert carried == {"voyage_jobs.state": "state", "voyage_jobs.epoch": "7"}


def test_a_start_that_was_superseded_publishes_nothing_more(anywhere):
    old = of_start(anywhere, 1)
    put(old, {A: ("one", 2)})
    new = of_start(anywhere, 2)
    put(new, {A: ("two", 2)})
    new.tend(Upkeep(small_fragments=2, words_from_rows=10**9))  # a commit that names nobody
    for act in (
        lambda: put(old, {A: ("three", 2)}),
        lambda: put(old, {B: ("three", 2)}),
        lambda: old.delete([A]),
        lambda: old.tend(Upkeep()),
        lambda: old.remake(PROFILE, []),
    ):
        with pytest.raises(EpochLostError, match="Another instance"):
            act()
    assert new.rows() == 2
    put(new, {A: ("three", 2)})  # the present one goes on


def test_another_state_and_programs_of_others_do_not_count(anywhere):
    table = of_start(anywhere, 1)
    put(PublishedTable.open(table_uri(anywhere), NAME, PROFILE), {A: ("one", 2)})
    put(PublishedTable.open(table_uri(anywhere), NAME, PROFILE, epoch=99), {A: ("two", 2)})
    put(table, {A: ("three", 2)})
    assert table.rows() == 2


def table_uri(anywhere):
    return anywhere if isinstance(anywhere, ObjectUri) else str(anywhere)
