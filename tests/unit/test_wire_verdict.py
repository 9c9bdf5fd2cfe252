import functools

import orjson
import pytest
from client_doubles import FixedKey

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.errors import (
    AuthError,
    InputFileMissingError,
    InterceptedError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TooLargeError,
)
from voyage_jobs.vendors.rest.verdict import judge as judged
from voyage_jobs.vendors.voyage.client import VOYAGE_API, VoyageClient

judge = functools.partial(judged, api=VOYAGE_API)

KEY = "pa-aVerySecretKey_0123456789"
NO_CARD = (
    "You have not yet added your payment method in the billing page and will have reduced rate limits of "
    "3 RPM and 10K TPM."
)


def detail(text):
    return orjson.dumps({"detail": text})


def test_success_is_no_error():
    assert judge(200, {}, b"") is None
    assert judge(204, {}, b"<html>") is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InterceptedError),
        (402, QuotaError),
        (404, InterceptedError),
        (405, InterceptedError),
        (407, InterceptedError),
        (408, OutcomeUnknownError),
        (409, InterceptedError),
        (410, InterceptedError),
        (413, TooLargeError),
        (422, InterceptedError),
        (424, OutcomeUnknownError),
        (425, OutcomeUnknownError),
        (429, RateLimitedError),
        (500, OutcomeUnknownError),
        (502, OutcomeUnknownError),
        (503, OutcomeUnknownError),
        (504, OutcomeUnknownError),
        (511, InterceptedError),
        (300, InterceptedError),
        (303, InterceptedError),
        (307, InterceptedError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>oops</html>", b'"text"', b"[]", b'{"detail": null}', b"\xff"])
def test_every_status_has_its_place_in_the_tree_where_the_api_does_not_say_why(status, error, body):
    verdict = judge(status, {}, body, host="api.example", operation="create a batch")

    assert type(verdict) is error
    assert verdict.status == status
    assert "Voyage (api.example)" in verdict.message
    assert "oops" not in verdict.message


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError),
        (401, AuthError),
        (403, AuthError),
        (404, RefusedError),
        (405, RefusedError),
        (409, RefusedError),
        (410, RefusedError),
        (413, TooLargeError),
        (422, RefusedError),
        (451, RefusedError),
        (407, InterceptedError),
        (302, InterceptedError),
        (500, OutcomeUnknownError),
    ],
)
@pytest.mark.parametrize("key", ["detail", "error", "message"])
def test_the_apis_own_json_refuses(status, error, key):
    verdict = judge(status, {}, orjson.dumps({key: "said by the API"}), host="api.example")

    assert type(verdict) is error
    assert verdict.message.endswith("said by the API") is (error is not InterceptedError)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", AuthError),
        (b" \n", AuthError),
        (b"<html>Log in</html>", InterceptedError),
        (b"no", InterceptedError),
    ],
)
def test_a_gateway_may_refuse_a_key_without_a_word_and_a_page_may_not(status, body, error):
    assert type(judge(status, {}, body)) is error


@pytest.mark.parametrize(
    ("status", "body", "says", "hint"),
    [
        (404, b"<!doctype html>", "with 404 and an HTML page.", "captive portal"),
        (404, b"", "with 404 and an empty body.", "captive portal"),
        (404, b"nope", "with 404 and 4 bytes of something else.", "captive portal"),
        (404, b"{}", "with 404 and JSON that is not the API's.", "captive portal"),
        (407, b"", "with 407 and an empty body.", "The proxy wants a name and a password"),
        (511, b"<html>", "with 511 and an HTML page.", "captive portal"),
        (302, b"<html>", "with 302 and an HTML page.", "voyage.base_url"),
    ],
)
def test_what_stood_there_instead_is_told(status, body, says, hint):
    verdict = judge(status, {}, body, host="api.example", operation="create a batch")

    assert verdict.message.startswith(
        "Something between here and Voyage (api.example) answered the call to create a batch, "
    )
    assert verdict.message.endswith(says)
    assert hint in verdict.hint


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("https://login.example/?token=s3cret", "a redirect to login.example."),
        ("/login", "a redirect to the same host."),
        ("https://[x/", "a redirect to nowhere."),
    ],
)
def test_where_a_redirect_leads_is_told_without_its_secrets(location, says):
    assert judge(302, {"Location": location}, b"").message.endswith(says)


@pytest.mark.parametrize("text", [NO_CARD, "limited to 3RPM", "add a Payment Method", "at most 10k tpm"])
def test_a_429_about_a_missing_payment_method_is_a_quota_and_not_a_wait(text):
    verdict = judge(429, {}, detail(text))

    assert type(verdict) is QuotaError
    assert "payment method" in verdict.hint


def test_a_429_about_a_full_queue_is_a_wait():
    assert type(judge(429, {}, detail("300 RPM exceeded; 100 batches are in flight"))) is RateLimitedError


def test_a_detail_that_is_a_list_of_complaints_is_told_in_one_line():
    body = detail([{"loc": ["body", "model"], "msg": "field required"}, {"msg": "and\nmore"}, "plain"])

    assert judge(422, {}, body).message.endswith("body.model: field required; and more; plain")


@pytest.mark.parametrize(
    "body", [{"error": {"message": "no"}}, {"message": "no"}, {"detail": {"detail": "no"}}]
)
def test_a_reason_under_another_name_is_found(body):
    assert judge(400, {}, orjson.dumps(body)).message.endswith(": no")


def test_a_reason_is_bounded_and_free_of_control_characters():
    message = judge(400, {}, detail("\x1b[31mred\x00" + "x" * 100_000)).message

    assert len(message) < 600
    assert message.isprintable()


@pytest.mark.parametrize("filler", range(450, 520, 7))
def test_an_echoed_key_is_masked_even_at_the_cut(filler):
    for key in (KEY, "sk_other_shape_of_key"):
        message = judge(401, {}, detail("x " * (filler // 2) + f"{key} is wrong"), secret=key).message

        assert key[:8] not in message


def test_anything_like_a_key_is_masked_without_knowing_it():
    assert KEY not in judge(401, {}, detail(f"{KEY} is wrong")).message


@pytest.mark.parametrize(
    ("key", "host", "says"),
    [
        ("al-0123456789abcdef", "api.voyageai.com", "MongoDB Atlas"),
        ("pa-0123456789abcdef", "ai.mongodb.com", "https://api.voyageai.com/v1"),
        ("pa-0123456789abcdef", "api.voyageai.com", "Check the key in the variable VOYAGE_API_KEY"),
    ],
)
def test_a_key_of_the_other_host_is_told_by_its_prefix(key, host, says):
    client = VoyageClient(f"https://{host}/v1", FixedKey(), clock=VirtualClock())
    hint = client.key_hint(key)

    assert says in hint
    assert key not in hint


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "1e9"}, 3600),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "Sat, 01 Aug 2026 12:00:30 GMT"}, None),
        ({"retry-after": "Sat, 01 Aug 2026 12:00:30 GMT", "Date": "Sat, 01 Aug 2026 12:00:00 GMT"}, 30),
        ({"retry-after": "Sat, 01 Aug 2026 11:00:00 GMT", "Date": "Sat, 01 Aug 2026 12:00:00 GMT"}, 0),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_against_the_answers_own_clock(headers, seconds):
    assert judge(429, headers, b"").retry_after_s == seconds


def test_the_longest_wait_that_the_vendor_may_ask_for_can_be_set():
    assert judge(429, {"retry-after": "7200"}, b"", max_retry_after_s=86_400).retry_after_s == 7200
    assert judge(429, {"retry-after": "7200"}, b"", max_retry_after_s=60).retry_after_s == 60


def test_the_vendors_id_of_the_call_is_kept():
    assert judge(500, {"Request-Id": "req_1"}, b"").request_id == "req_1"
    assert judge(500, {}, b"").request_id is None


def test_an_input_file_that_is_not_visible_yet_is_told_from_other_404s():
    assert isinstance(judge(404, {}, detail("Input file not found.")), InputFileMissingError)
    assert not isinstance(judge(404, {}, detail("Batch not found.")), InputFileMissingError)
    assert not isinstance(judge(400, {}, detail("Input file is malformed.")), InputFileMissingError)


@pytest.mark.parametrize("opening", ['{"detail":', '{"detail":[', '{"detail":{"loc":['])
@pytest.mark.parametrize("depth", [300, 500, 1010])
def test_a_complaint_nested_deeper_than_python_can_write_is_a_refusal(opening, depth):
    closing = "".join({"[": "]", "{": "}"}.get(sign, "") for sign in reversed(opening))
    body = (opening * depth + "0" + closing * depth).encode()
    error = judge(400, {}, body)

    is_readable = depth * (opening.count("[") + opening.count("{")) <= 1024
    assert type(error) is (RefusedError if is_readable else InterceptedError)
    assert len(error.message) < 1000
