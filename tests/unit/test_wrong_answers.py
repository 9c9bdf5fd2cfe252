"""Late and wrong answers of the provider, each by name: all is served in the end, and nothing is paid twice."""

import pytest
from small_world import Small, quick

TEXTS = {f"d{number}.md": f"text number {number}" for number in range(5)}

# name -> faults of the provider. Each strikes at least once; what it spoils is asked for again.
FAULTS = {
    "HTML instead of JSON from the list": {
        "answer_lost": {"on": "create_batch", "times": 1},
        "server_error": {"on": "list_batches", "times": 2},
    },
    "HTML instead of JSON from a poll": {"server_error": {"on": "retrieve_batch", "times": 3}},
    "HTML instead of JSON from create, before the effect": {
        "server_error": {"on": "create_batch", "times": 1}
    },
    "HTML instead of JSON from create, after the effect": {
        "server_error": {"on": "create_batch", "times": 1, "after_effect": True}
    },
    "create times out before the effect": {
        "request_lost": {"on": "create_batch", "times": 1, "as": "read_timeout"}
    },
    "create times out after the effect": {"answer_lost": {"on": "create_batch", "times": 1}},
    "create takes effect five minutes late": {
        "effect_delayed": {"on": "create_batch", "times": 1, "seconds": 300.0}
    },
    "job is listed only after a lag": {
        "answer_lost": {"on": "create_batch", "times": 1},
        "job_hidden": {"nth": 1, "seconds": 400.0},
    },
    "job cannot be retrieved for a while": {"job_hidden": {"nth": 1, "seconds": 400.0}},
    "create is refused for the job limit": {"rate_limited": {"on": "create_batch", "times": 1}},
    "input file is not found after a good upload": {"input_file_not_found": {"times": 2}},
    "upload's answer is lost": {"answer_lost": {"on": "upload_file", "times": 1}},
    "download is cut again and again": {"body_cut": {"times": 3, "keep_share": 0.4}},
    "key is refused for a while": {"auth_outage": {"from_s": 0, "until_s": 600}},
    "account without a payment method": {"unpaid_account": {"from_s": 0, "until_s": 600}},
    "job does not finish within its window": {"job_slow": {"nth": 1, "done_share": 0.4}},
    "job fails validation and names a line": {"job_invalid": {"nth": 1, "line": 2}},
    "every line of a job fails": {"job_all_failed": {"nth": 1}},
    "status that nobody knows, on the way": {
        "job_status": {"nth": 1, "instead_of": "in_progress", "word": "reticulating"}
    },
    "partially_completed": {"job_status": {"nth": 1, "word": "partially_completed"}},
    "expired": {"job_status": {"nth": 1, "word": "expired"}},
    "line is missing": {"line_missing": {"times": 1}},
    "line is repeated": {"line_duplicate": {"times": 1}},
    "line has expired": {"line_expired": {"times": 1}},
    "line has an error of the server": {"line_server_error": {"times": 1}},
    "error line stands in the output file": {"line_error_in_output": {"times": 1}},
    "line with an id that nobody asked for": {"line_foreign_id": {"times": 1}},
    "line without data": {"line_without_data": {"times": 1}},
    "line that is not JSON": {"line_not_json": {"times": 1}},
    "vector of the wrong dimension": {"line_wrong_dimension": {"times": 1}},
    "vector with NaN": {"line_nan": {"times": 1}},
    "vector with null for a number": {"line_nan": {"times": 1, "literal": "null"}},
    "vector of zeros": {"line_all_zero": {"times": 1}},
    "file is not deleted at once": {"not_deleted": {"times": 1}},
}

# name -> how the provider reads what its pages leave open.
READINGS = {
    "times without a zone": {"timestamps": "zoneless"},
    "ids with underscores": {"id_separator": "_"},
    "keys of older samples": {"legacy_batch_keys": True},
    "upload does not say when it expires": {"upload_shows_expires_at": False},
    "list without has_more": {"list_shows_cursor": False},
    "list in ascending order": {"batches_order": "asc"},
    "ranges are served": {"ranges": True},
    "redirect to another host": {"redirect_to": "https://storage.example"},
    "inputs are counted by lines": {"inputs_are": "lines"},
    "empty output file": {"empty_output_file": True},
    "results in the order of the requests": {"shuffle_output": False},
    "schema errors are 422": {"schema_errors": "422_list"},
}


@pytest.fixture(autouse=True)
def _quick():
    with quick():
        yield


def all_is_served(small):
    for path, text in TEXTS.items():
        small.write(path, text)
    small.run()
    assert small.served() == {path: [text] for path, text in TEXTS.items()}
    assert small.ledger.billed_more_than_once() == {}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name, tmp_path):
    small = Small(tmp_path, faults=FAULTS[name])
    all_is_served(small)
    assert small.sim.faults.fired.keys() == FAULTS[name].keys()


@pytest.mark.parametrize("name", READINGS)
def test_reading(name, tmp_path):
    small = Small(tmp_path, options=READINGS[name], faults={"body_cut": {"nth": 1}})
    all_is_served(small)
    ours = [request for request in small.transport.requests if request.host != "storage.example"]
    others = [request for request in small.transport.requests if request.host == "storage.example"]
    assert all("authorization" in request.headers for request in ours)
    assert not any("authorization" in request.headers for request in others)
    assert bool(others) == ("redirect_to" in READINGS[name])


def test_result_that_comes_after_its_document_changed_is_kept_and_not_published(tmp_path):
    small = Small(tmp_path)
    small.write("a.md", "old")
    small.run(turns=6, quiet=False)
    small.write("a.md", "new")
    small.clock.advance(400)
    small.run()
    assert small.served() == {"a.md": ["new"]}
    small.write("a.md", "old")
    small.clock.advance(400)
    small.run()
    assert small.served() == {"a.md": ["old"]}
    assert small.ledger.units() == 2
    assert small.ledger.billed_more_than_once() == {}
