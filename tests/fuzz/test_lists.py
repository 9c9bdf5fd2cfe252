"""Lists of the vendor: every item once, whatever the pages look like; an end, whatever the cursors do."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
from client_doubles import client_of
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from fuzz.answers import VALUES
from voyage_jobs.errors import BadAnswerError, VendorError

ITEMS = st.sampled_from([0, 1, 2, 19, 20, 21, 40, 41, 99, 100, 101, 250])
EXTRA = st.dictionaries(
    st.sampled_from(["object", "foreign", "x-new", "model", "url", "created_at"]), VALUES, max_size=3
)
KINDS = st.sampled_from(["batches", "files"])


class Listing(httpx.BaseTransport):
    """A vendor with a list of `ids`, each page shaped by one of the readings of its reference."""

    def __init__(
        self,
        ids: list[str],
        *,
        own_limit: int | None,
        has_more: Any,
        extra: dict[str, Any],
        item: dict[str, Any],
    ):
        self.ids = ids
        self.own_limit = own_limit
        self.has_more = has_more
        self.extra = extra
        self.item = item
        self.calls = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        limit = self.own_limit or int(request.url.params["limit"])
        after = request.url.params.get("after")
        start = self.ids.index(after) + 1 if after is not None else 0
        page = self.ids[start : start + limit]
        said = {**self.extra, "data": [{**self.item, "id": name, "status": "in_progress"} for name in page]}
        if self.has_more == "true":
            said |= {"has_more": start + limit < len(self.ids), "first_id": page[0] if page else None}
        elif self.has_more != "absent":
            said["has_more"] = self.has_more
        return httpx.Response(200, json=said)


def read(client, kind):
    listed = client.list_batches() if kind == "batches" else client.list_files()
    return [item.id for item in listed]


@examples(150)
@given(
    KINDS,
    ITEMS,
    st.sampled_from([None, 20, 33, 100]),
    st.sampled_from(["true", "absent", None, "yes", 1, 0, []]),
    EXTRA,
    EXTRA,
)
def test_every_item_once_whatever_the_pages_look_like(kind, count, own_limit, has_more, extra, item):
    ids = [f"{kind}-{number}" for number in range(count)]
    vendor = Listing(ids, own_limit=own_limit, has_more=has_more, extra=extra, item=item)

    assert read(client_of(vendor), kind) == ids
    assert vendor.calls <= count // 20 + 2


@examples(150)
@given(
    KINDS,
    st.lists(st.integers(0, 30).map(str), min_size=1, max_size=40),
    st.integers(1, 25),
    st.sampled_from([True, None]),
    st.integers(0, 2**32),
)
def test_cursors_that_lead_in_circles_come_to_an_end(kind, names, size, has_more, start):
    """The vendor gives any piece of any list, wherever it was asked to go on."""
    calls = []

    def page(request):
        calls.append(request.url.params.get("after"))
        first = (start + 7 * len(calls)) % len(names)
        data = [{"id": name, "status": "queued"} for name in (names[first:] + names[:first])[:size]]
        return httpx.Response(200, json={"data": data, "has_more": has_more})

    client = client_of(*[page] * 100)
    with contextlib.suppress(BadAnswerError):
        found = read(client, kind)
        assert len(found) == len(set(found)) <= len(set(names))
    assert len(calls) <= len(set(names)) + 1


@examples(200)
@given(KINDS, st.lists(VALUES, max_size=4), VALUES, VALUES)
def test_a_page_is_read_whole_or_refused_whole(kind, data, has_more, more):
    """An item that cannot be read may be a job of ours: nothing is skipped."""
    pages = [
        httpx.Response(200, json={"data": data, "has_more": has_more, "first_id": more, "last_id": more})
    ] * 9
    try:
        found = read(client_of(*pages), kind)
    except VendorError:
        return
    assert found == [item["id"] for item in data]


@given(KINDS, st.sampled_from([1, 500, 4000]))
def test_a_huge_page_is_a_page(kind, count):
    item = {
        "id": "",
        "status": "in_progress",
        "metadata": {"k" * 60: "v" * 500},
        "errors": {"data": ["e" * 900] * 3},
    }
    data = [{**item, "id": f"x-{number}"} for number in range(count)]
    pages = [httpx.Response(200, json={"data": data, "has_more": False})]

    assert len(read(client_of(*pages), kind)) == count
