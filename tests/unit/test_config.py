"""Loading settings: what is refused and in which words, who overrides whom, what is derived."""

import contextlib
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voyage_jobs.config import Settings, load_settings, parse_settings
from voyage_jobs.errors import ConfigError

ORIGIN = Path("/etc/vj/voyage-jobs.toml")
HOME = {"HOME": "/home/me"}
SOURCE = '[[sources]]\nname = "docs"\npath = "docs"\n'


def load(text: str, **environ: str) -> Settings:
    return parse_settings(text, ORIGIN, {**HOME, **environ})


def complaints(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    assert caught.value.exit_code == 2
    lines = caught.value.message.splitlines()
    if len(lines) > 1:
        assert lines.pop(0) == f"{len(lines)} problems in the configuration:"
    return lines


# --- what is refused

CASES = [
    ("voyage", 'modell = "x"', 'voyage.modell = "x": unknown key; did you mean voyage.model?'),
    ("voyage", "max_chars = 100", "voyage.max_chars = 100: unknown key; did you mean splitting.max_chars?"),
    ("voyage", "zzz = 1", "voyage.zzz = 1: unknown key; known here: base_url, model,"),
    (
        "voyage",
        'api_key = "abc"',
        "voyage.api_key = ***: secrets do not belong in this file; set VOYAGE_API_KEY",
    ),
    ("voyage", 'tokenizer = "a\\u0000b"', "must not hold a zero byte"),
    ("lancedb", 'uri = "a\\u0000b"', "must not hold a zero byte"),
    ("voyage", 'model = ""', 'voyage.model = "": must not be empty.'),
    ("voyage", "model = 4", "voyage.model = 4: must be a text in quotes."),
    ("voyage", 'model = "rerank-2.5"', "makes no text embeddings"),
    (
        "voyage",
        "output_dimension = 333",
        "voyage-4 does not make vectors of this size; choose 256 or 512 or 1024 or 2048.",
    ),
    ("voyage", "output_dimension = true", "voyage.output_dimension = true: must be a number."),
    (
        "voyage",
        'model = "voyage-3-lite"\noutput_dimension = 1024',
        "does not make vectors of this size; choose 512.",
    ),
    ("voyage", 'model = "voyage-law-2"\noutput_dtype = "int8"', "makes only float vectors"),
    ("voyage", 'model = "new"\noutput_dtype = "binary"\noutput_dimension = 100', "must be divisible by 8"),
    ("voyage", 'output_dtype = "float16"', "must be 'float', 'int8', 'uint8', 'binary' or 'ubinary'."),
    ("voyage", 'input_type = "passage"', "must be 'document', 'query' or ''."),
    ("voyage", 'endpoint = "rerank"', "voyage.endpoint"),
    (
        "voyage",
        'endpoint = "/v1/contextualizedembeddings"',
        "voyage-4 makes none of these; choose /v1/embeddings",
    ),
    ("voyage", 'model = "voyage-context-3"', "voyage-context-3 needs /v1/contextualizedembeddings"),
    ("voyage", 'model = "voyage-context-9"', "voyage-context-9 needs /v1/contextualizedembeddings"),
    ("voyage", 'base_url = "http://api.voyageai.com/v1"', "would send the API key over the network in clear"),
    ("voyage", 'base_url = "http://8.8.8.8/v1"', "in clear; write https://."),
    ("voyage", 'base_url = "api.voyageai.com/v1"', "is not the address of an API"),
    ("voyage", 'base_url = "https://host/v1?x=1"', "is not the address of an API"),
    ("voyage", 'base_url = "https://[::1/v1"', "is not a URL"),
    ("voyage", 'base_url = "https://me:hunter2@host/v1"', "must not hold a user name or password"),
    ("voyage", "timeout_s = 0", "voyage.timeout_s = 0: must be at least 0.1."),
    ("voyage", "timeout_s = inf", "voyage.timeout_s = inf: must be a finite number."),
    ("voyage", "quarantine_s = -1", "must be at least 0."),
    ("splitting", "max_chars = 100", "must be at least 200."),
    ("splitting", "max_chars = 9000", "must be at most 8000."),
    ("splitting", "overlap_chars = 1000", "must be less than half of splitting.max_chars (2000)."),
    ("splitting", "min_chars = -1", '.min_chars = -1: must be "auto" or a whole number of at least 0.'),
    ("splitting", "min_chars = true", '.min_chars = true: must be "auto" or a whole number of at least 0.'),
    ("splitting", 'min_chars = "few"', '.min_chars = "few": must be "auto" or a whole number'),
    ("splitting", "window_tokens = 500", 'must be "auto" or a whole number from 1000 to 30000.'),
    ("splitting", "window_tokens = 1000.5", 'must be "auto" or a whole number from 1000 to 30000.'),
    ("server", 'hosts = [""]', 'server.hosts[0] = "": must be a name alone'),
    ("server", 'hosts = ["ok.test", "https://docs.test"]', "server.hosts[1]"),
    ("server", 'hosts = ["docs.test:8443"]', 'must be a name alone, such as "docs.example.com", without'),
    ("batching", "max_inputs = 100001", "must be at most 100000."),
    ("batching", "max_inputs = 1.5", "must be a whole number."),
    (
        "batching",
        "max_inputs = 10",
        "batching.min_inputs = 1000: must not be more than batching.max_inputs (10).",
    ),
    (
        "polling",
        "interval_s = 900",
        "polling.max_interval_s = 600: must not be less than polling.interval_s (900).",
    ),
    ("lancedb", 'table = "a/b"', "lancedb.table"),
    ("budget", "daily_usd = -0.5", "budget.daily_usd = -0.5: must be at least 0."),
    ("notify", 'command = "x y"', 'must be a list, such as ["notify-me", "--urgent"].'),
    ("logging", 'level = "loud"', "must be 'debug', 'info', 'warning' or 'error'."),
]


@pytest.mark.parametrize(("section", "line", "said"), CASES, ids=[case[1] for case in CASES])
def test_one_wrong_value_makes_one_line_that_names_file_key_and_fix(section, line, said):
    (complaint,) = complaints(f"{SOURCE}[{section}]\n{line}\n")
    assert complaint.startswith(f"{ORIGIN}: {section}.")
    assert said in complaint
    assert "hunter2" not in complaint


@pytest.mark.parametrize("value", ["3", "true", "['a']"])
def test_a_data_dir_that_is_no_path_is_one_complaint_among_the_others(value):
    said = complaints(f"data_dir = {value}\n{SOURCE}[polling]\ninterval_s = 900\n")
    assert [line.split(": ", 1)[1].split(" ")[0] for line in said] == ["data_dir", "polling.max_interval_s"]


SOURCE_CASES = [
    (
        'name = "a"\npath = "x"\nrecords = { text = "{body}", id = "sku", optional = ["author.nmae"] }',
        "optional names 'author.nmae', which is no field that it asks for: sku, body",
    ),
    ('name = "a b"\npath = "x"', 'sources[0].name = "a b": must be 1 to 64 letters'),
    ('path = "x"', "sources[0].name: is required."),
    ('name = "a"', "sources[0].path: is required."),
    ('name = "a"\npath = 1', "sources[0].path = 1: must be a path in quotes."),
    ('name = "a"\npath = ""', 'sources[0].path = "": must not be empty.'),
    ('name = "a"\npath = "x"\ninclude = "*.md"', 'must be a list, such as ["*.md"].'),
    (
        'name = "a"\npath = "x"\nrecords = { text = "body", id = "sku" }',
        'records.text = "body": names no field, so all rows would say the same; write "{name}"',
    ),
    (
        'name = "a"\npath = "x"\nrecords = { text = "{a}", delimiter = ";;" }',
        'records.delimiter = ";;": must have no more characters than 1.',
    ),
    ('name = "a"\npath = "x"\nlogs = "*.log"', 'must be a list, such as ["*.log"].'),
    ('name = "a"\npath = "x"\ninclude = ["!"]', "sources[0].include"),
    (
        'name = "a"\npath = "x"\nhtml = { select = ["main", ".page["] }',
        'sources[0].html.select[1] = ".page[": is no CSS selector; write "main",',
    ),
    ('name = "a"\npath = "x"\nhtml = { drop = ["nav,"] }', 'html.drop[0] = "nav,": is no CSS selector'),
    ('name = "a"\npath = "x"\nmax_delete_share = 0', "must be more than 0."),
    ('name = "a"\npath = "x"\nmax_delete_share = 1.1', "must be at most 1."),
    ('name = "a"\npath = "x"\nfollow_symlink = true', "did you mean sources[0].follow_symlinks?"),
    ('name = "a"\npath = "x"\n[[sources]]\nname = "a"\npath = "y"', "is already the name of sources[0]"),
    ('name = "a"\npath = "/"', 'data_dir = "/home/me/.local/share/voyage-jobs": lies inside source a (/)'),
]


@pytest.mark.parametrize(
    ("lines", "said"), SOURCE_CASES, ids=[case[0].replace("\n", "; ") for case in SOURCE_CASES]
)
def test_a_wrong_source_is_named_by_its_number(lines, said):
    (complaint,) = complaints(f"[[sources]]\n{lines}\n")
    assert said in complaint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sources]\nname = 'a'\n", "write [[sources]] with two brackets."),
        ("voyage = 3\n" + SOURCE, "write [voyage] with its keys below it."),
        ("modle = 3\n" + SOURCE, "modle = 3: unknown key; did you mean voyage.model?"),
        ("data_dir = ''\n" + SOURCE, 'data_dir = "": must not be empty.'),
        ("", "sources: no source folder is configured; add [[sources]]"),
        ("data_dir = 'docs/data'\n" + SOURCE, "lies inside source docs (/etc/vj/docs)"),
        (
            SOURCE + "[lancedb]\nuri = 'docs/table'\n",
            'lancedb.uri = "/etc/vj/docs/table": lies inside source docs',
        ),
    ],
)
def test_wrong_shapes(text, said):
    (complaint,) = complaints(text)
    assert said in complaint


def test_a_syntax_error_names_line_and_column():
    (complaint,) = complaints("[voyage]\nmodel = \n")
    assert complaint == f"{ORIGIN}: line 2, column 9: Invalid value."
    (complaint,) = complaints("[voyage]\nmodel = 'x")
    assert "line 2, column 11" in complaint


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    bad = tmp_path / "c.toml"
    bad.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"c\.toml: is not UTF-8 text \(byte 5\)"):
        load_settings(bad, HOME)
    with pytest.raises(ConfigError, match=r"no such file \(named by --config\)"):
        load_settings(tmp_path / "none.toml", HOME)
    with pytest.raises(ConfigError, match="named by VOYAGE_JOBS_CONFIG"):
        load_settings(None, {**HOME, "VOYAGE_JOBS_CONFIG": str(tmp_path / "none.toml")})


def test_everything_wrong_is_said_at_once_also_what_concerns_two_keys():
    lines = complaints(
        SOURCE
        + '[[sources]]\nname = 3\n[voyage]\nmodel = "voyage-law-2"\noutput_dtype = "int8"\noutput_dim = 3\n'
        "[splitting]\nmax_chars = 8000\n[batching]\nmin_inputs = 'many'\nmax_inputs = 5\n"
    )
    text = "\n".join(lines)
    for said in (
        "sources[1].name = 3",
        "sources[1].path: is required",
        "voyage.output_dim = 3: unknown key",
        'voyage.output_dtype = "int8"',
        "voyage-law-2 reads (16,000 tokens); use 4000 or less",
        'batching.min_inputs = "many"',
    ):
        assert said in text
    assert "must not be more than" not in text, "a check on a value that is itself unusable says nothing new"


def test_a_key_pasted_anywhere_is_not_repeated():
    secret = "pa-NotARealKey0123456789abcdefghijklmnop"
    for text in (
        f"[voyage]\ntimeout_s = '{secret}'\n",
        f"[voyage]\nkey = '{secret}'\n",
        f"token = '{secret}'\n",
    ):
        assert secret not in "\n".join(complaints(SOURCE + text))


# --- the environment


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("VOYAGE_JOBS_VOYAGE__MODLE", "x", "no such setting; did you mean VOYAGE_JOBS_VOYAGE__MODEL?"),
        ("VOYAGE_JOBS_MODEL", "x", "VOYAGE_JOBS_VOYAGE__MODEL"),
        ("VOYAGE_JOBS_VOYAGE__API_KEY", "pa-x", "the API key is read from VOYAGE_API_KEY"),
        (
            "VOYAGE_JOBS_SOURCES",
            "/docs",
            'is not JSON (Expecting value: line 1 column 1 (char 0)); write [{"name"',
        ),
        ("VOYAGE_JOBS_SOURCES", '{"name": "a"}', "has the wrong shape"),
        ("VOYAGE_JOBS_SOURCES", '[{"name": "a"}]', "VOYAGE_JOBS_SOURCES: sources[0].path: is required."),
        (
            "VOYAGE_JOBS_BATCHING__MAX_INPUTS",
            "lots",
            'BATCHING__MAX_INPUTS: batching.max_inputs = "lots": must be',
        ),
        ("VOYAGE_JOBS_BATCHING", '{"max_inputs": "lots"}', "VOYAGE_JOBS_BATCHING: batching.max_inputs"),
        (
            "VOYAGE_JOBS_VOYAGE__BASE_URL",
            "http://example.com",
            "VOYAGE_JOBS_VOYAGE__BASE_URL: voyage.base_url",
        ),
    ],
)
def test_a_wrong_variable_is_named(name, value, said):
    (complaint,) = complaints(SOURCE, **{name: value})
    assert complaint.startswith("environment: VOYAGE_JOBS_")
    assert said in complaint


def test_the_environment_overrides_the_file_key_by_key():
    settings = load(
        SOURCE + '[voyage]\nmodel = "voyage-4-lite"\ntimeout_s = 5\n[budget]\ndaily_usd = 3\n',
        VOYAGE_JOBS_VOYAGE__TIMEOUT_S="7.5",
        VOYAGE_JOBS_VOYAGE__OUTPUT_DIMENSION="256",
        VOYAGE_JOBS_VOYAGE__DELETE_REMOTE_FILES="false",
        VOYAGE_JOBS_VOYAGE__INPUT_TYPE="none",
        VOYAGE_JOBS_VOYAGE__ENDPOINT="",
        VOYAGE_JOBS_BUDGET__DAILY_USD="none",
        VOYAGE_JOBS_LOGGING__LEVEL="DEBUG",
    )
    voyage = settings.voyage
    assert (voyage.model, voyage.timeout_s, voyage.output_dimension) == ("voyage-4-lite", 7.5, 256)
    assert (voyage.delete_remote_files, voyage.input_type, voyage.endpoint) == (False, "", "/v1/embeddings")
    assert settings.budget.daily_usd is None
    assert settings.logging.level == "debug"


def test_a_container_needs_no_file_and_no_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = json.dumps([{"name": "a", "path": "/srv/a"}, {"name": "b", "path": "rel", "include": ["*.md"]}])
    settings = load_settings(
        None, {"HOME": "/nonexistent", "VOYAGE_JOBS_SOURCES": sources, "VOYAGE_JOBS_DATA_DIR": "/data"}
    )
    assert settings.origin is None
    assert [source.path for source in settings.sources] == [Path("/srv/a"), tmp_path / "rel"]
    assert settings.sources[1].include == ("*.md",)
    assert settings.data_dir == Path("/data")


def test_with_nothing_at_all_the_hint_says_where_was_looked_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no source folder is configured") as caught:
        load_settings(None, {"HOME": "/home/me", "XDG_CONFIG_HOME": "relative-is-ignored"})
    assert f"{tmp_path}/voyage-jobs.toml and /home/me/.config/voyage-jobs/config.toml" in caught.value.hint
    assert "voyage-jobs init" in caught.value.hint


def test_variables_that_are_none_of_ours_are_left_alone():
    load(
        SOURCE,
        VOYAGE_JOBS_SERVICE_HOST="10.0.0.1",
        VOYAGE_JOBS_PORT="tcp://10.0.0.1:80",
        VOYAGE_JOBS_PORT_80_TCP_ADDR="10.0.0.1",
        VOYAGE_JOBS_DEBUG="1",
        VOYAGE_JOBS_CRASH_AT="assemble.committed:1",
        VOYAGE_API_KEY="whatever",
    )


# --- search order, paths, derived values


def test_search_order_is_option_variable_local_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user = tmp_path / "xdg" / "voyage-jobs" / "config.toml"
    user.parent.mkdir(parents=True)
    places = [tmp_path / "option.toml", tmp_path / "variable.toml", tmp_path / "voyage-jobs.toml", user]
    for place in places:
        place.write_text(SOURCE)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": "/x", "VOYAGE_JOBS_CONFIG": str(places[1])}
    assert load_settings(places[0], environ).origin == places[0]
    assert load_settings(None, environ).origin == places[1]
    del environ["VOYAGE_JOBS_CONFIG"]
    assert load_settings(None, environ).origin == places[2]
    places[2].unlink()
    settings = load_settings(None, environ)
    assert settings.origin == user
    assert settings.sources[0].path == user.parent / "docs", "relative to the file, not to the current folder"


def test_a_named_place_without_a_file_says_what_is_there_and_how_to_fill_it(tmp_path):
    with pytest.raises(
        ConfigError, match=r"is a folder, not a file \(named by VOYAGE_JOBS_CONFIG\)"
    ) as folder:
        load_settings(None, {"VOYAGE_JOBS_CONFIG": str(tmp_path)})
    assert folder.value.hint == "Name the file in it."
    with pytest.raises(ConfigError, match=r"no such file \(named by --config\)") as nothing:
        load_settings(Path("no such.toml"), {})
    assert nothing.value.hint == "`voyage-jobs init --path 'no such.toml'` writes a configuration there."


def test_a_byte_order_mark_does_no_harm(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf" + SOURCE.encode())
    assert load_settings(file, HOME).sources[0].name == "docs"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/vj:/other", "XDG_DATA_HOME": "/xdg"}, "/var/lib/vj"),
        ({"XDG_DATA_HOME": "/xdg"}, "/xdg/voyage-jobs"),
        ({"XDG_DATA_HOME": "xdg"}, "/home/me/.local/share/voyage-jobs"),
        ({}, "/home/me/.local/share/voyage-jobs"),
    ],
)
def test_the_data_folder_by_convention(environ, expected):
    assert str(load(SOURCE, **environ).data_dir) == expected


def test_paths_follow_the_data_folder():
    settings = load("data_dir = 'data'\n" + SOURCE)
    paths = settings.paths
    assert [paths.lock, paths.spool, paths.vectors, paths.lancedb] == [
        Path("/etc/vj/data") / name for name in ("lock", "spool", "vectors", "lancedb")
    ]
    assert settings.lancedb.uri == "/etc/vj/data/lancedb"
    assert load(SOURCE + "[lancedb]\nuri = 'table'\n").lancedb.uri == "/etc/vj/table"
    remote = load(SOURCE + "[lancedb]\nuri = 's3://bucket/x'\n")
    assert (remote.lancedb.uri, remote.paths.lancedb) == ("s3://bucket/x", None)


@pytest.mark.parametrize(
    ("lines", "dimension"),
    [
        ("", 1024),
        ('model = "voyage-3-lite"', 512),
        ('model = "voyage-code-2"', 1536),
        ('model = "voyage-99"', 1024),
        ("output_dimension = 2048", 2048),
    ],
)
def test_an_absent_dimension_is_the_models_own(lines, dimension):
    assert load(f"{SOURCE}[voyage]\n{lines}\n").voyage.output_dimension == dimension


@pytest.mark.parametrize(
    "spelled", ["contextualizedembeddings", "v1/contextualizedembeddings", "/v1/contextualizedembeddings"]
)
def test_the_endpoint_may_be_written_short(spelled):
    settings = load(f'{SOURCE}[voyage]\nmodel = "voyage-context-3"\nendpoint = "{spelled}"\n')
    assert settings.voyage.endpoint == "/v1/contextualizedembeddings"


@pytest.mark.parametrize(
    "host", ["localhost:9", "127.0.0.1", "[::1]:80", "10.1.2.3", "simulator:8080", "x.test"]
)
def test_plain_http_is_for_this_machine_and_private_networks(host):
    assert load(f'{SOURCE}[voyage]\nbase_url = "http://{host}/v1"\n').voyage.base_url == f"http://{host}/v1"


def test_what_is_allowed_but_odd_is_a_warning():
    assert load(SOURCE).warnings == ()
    (unknown,) = load(SOURCE + '[voyage]\nmodel = "voyage-99"\n').warnings
    assert "voyage-99" in unknown
    (nested,) = load(SOURCE + '[[sources]]\nname = "sub"\npath = "docs/sub"\n').warnings
    assert "Source sub (/etc/vj/docs/sub) lies inside source docs (/etc/vj/docs)" in nested
    (same,) = load(SOURCE + '[[sources]]\nname = "again"\npath = "docs/"\n').warnings
    assert "again" in same
    assert load(SOURCE + '[[sources]]\nname = "beside"\npath = "docs2"\n').warnings == ()
    (misspelt,) = load(SOURCE + '[prices."voyage4"]\nbatch_usd_per_million = 1\n').warnings
    assert '[prices."voyage4"] is for a model that is not known here' in misspelt
    known = "".join(
        f'[prices."{name}"]\nbatch_usd_per_million = 1\n' for name in ("voyage-3.5", "rerank-2.5", "my-own")
    )
    assert load(f'{SOURCE}[openai_sync]\nmodel = "my-own"\n{known}').warnings == ()
    (short,) = load(SOURCE + "[voyage]\nquarantine_s = 60\n").warnings
    assert "a second time" in short


def test_settings_do_not_change_and_compare_by_value():
    one, two = load(SOURCE, VOYAGE_API_KEY="k" * 10), load(SOURCE)
    assert one.voyage == two.voyage
    assert one.model_dump() == two.model_dump()
    with pytest.raises(Exception, match="frozen"):
        one.voyage.model = "x"
    assert one.api_key() == "k" * 10
    assert "kkkk" not in repr(one)


TOML_TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
VALUES = st.one_of(
    st.integers(), st.floats(), st.booleans(), TOML_TEXT, st.lists(st.integers(), max_size=2), st.none()
)


@given(
    st.sampled_from(
        ["voyage", "sources", "splitting", "batching", "budget", "lancedb", "logging", "data_dir", "x"]
    ),
    st.one_of(
        VALUES,
        st.dictionaries(TOML_TEXT, VALUES, max_size=3),
        st.lists(st.dictionaries(TOML_TEXT, VALUES, max_size=2)),
    ),
)
def test_whatever_stands_in_a_variable_there_is_no_traceback(name, value):
    with contextlib.suppress(ConfigError):
        load(SOURCE, **{f"VOYAGE_JOBS_{name.upper()}": json.dumps(value)})


@given(st.text(max_size=60))
def test_whatever_stands_in_the_file_there_is_no_traceback(text):
    try:
        tomllib.loads(text)
        valid = True
    except tomllib.TOMLDecodeError:
        valid = False
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert valid or "line" in caught.value.message


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a\\u0000b", "must not hold a zero byte."),
        ("x" * 256, "is too long: a name has at most 255 bytes, a path 3,800."),
        ("\u00e9" * 128, "is too long: a name has at most 255 bytes, a path 3,800."),
        ("x/" * 2000, "is too long: a name has at most 255 bytes, a path 3,800."),
    ],
    ids=["zero byte", "name", "bytes", "path"],
)
def test_a_path_that_no_disk_can_have_is_refused(path, said):
    for text in (f'data_dir = "{path}"\n{SOURCE}', f'{SOURCE}[lancedb]\nuri = "{path}"\n'):
        assert any(line.endswith(said) for line in complaints(text))
    assert load(f'{SOURCE}[lancedb]\nuri = "s3://{"x" * 300}"\n').lancedb.uri.startswith("s3://x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "1" * 5000, "4300 digits"),
        ("x = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("sources = 0x" + "f" * 5000, "(too long to be shown): must be a list of tables"),
        ('[prices."\\u001b"]\nmodel = 1', "prices.\\x1b.model"),
    ],
    ids=["digits", "deep", "large", "unprintable"],
)
def test_what_cannot_be_read_or_shown_is_told(text, said):
    assert any(said in line for line in complaints(text))


def test_a_key_that_stands_in_the_wrong_place_is_not_shown():
    key = "an-unusual-key-of-twelve"
    (line,) = complaints(f'[voyage]\nbase_url = "{key}"\n{SOURCE}', VOYAGE_API_KEY=key)
    assert key not in line
    assert "***" in line


@pytest.mark.parametrize("value", ["example.test, localhost", "[" * 3_000 + "]" * 3_000])
def test_a_list_in_a_variable_that_is_no_json_is_told(value):
    (line,) = complaints(SOURCE, VOYAGE_JOBS_SERVER__HOSTS=value)
    assert line == 'environment: VOYAGE_JOBS_SERVER__HOSTS: is a list; write it as JSON, such as ["a", "b"].'
    assert load(SOURCE, VOYAGE_JOBS_SERVER__HOSTS='["example.test"]').server.hosts == ("example.test",)
