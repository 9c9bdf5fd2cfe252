"""Lists of the provider: every item once, whatever the pages look like; an end, whatever the cursors do."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import httpx
from client_doubles import client_of
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from fuzz.answers import VALUES
from voyage_jobs.errors import BadAnswerError, VendorError
from voyage_jobs.vendors.remote import METADATA_REF

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
        return page_of(said)


def page_of(said) -> httpx.Response:
    """An answer with any JSON in it, and with what some libraries write and JSON does not know (`Infinity`)."""
    return httpx.Response(200, content=json.dumps(said), headers={"Content-Type": "application/json"})


def read(client, kind):
    listed = client.list_batches() if kind == "batches" else client.list_files()
    return [item.id for item in listed]


@examples(60)
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


@examples(60)
@given(
    KINDS,
    st.lists(st.integers(0, 30).map(str), min_size=1, max_size=40),
    st.integers(1, 25),
    st.sampled_from([True, None]),
    st.integers(0, 2**32),
)
def test_cursors_that_lead_in_circles_come_to_an_end(kind, names, size, has_more, start):
    """The provider gives any piece of any list, wherever it was asked to go on."""
    calls = []

    def page(request):
        calls.append(request.url.params.get("after"))
        first = (start + 7 * len(calls)) % len(names)
        data = [{"id": name, "status": "queued"} for name in (names[first:] + names[:first])[:size]]
        return page_of({"data": data, "has_more": has_more})

    client = client_of(*[page] * 100)
    with contextlib.suppress(BadAnswerError):
        found = read(client, kind)
        assert len(found) == len(set(found)) <= len(set(names))
    assert len(calls) <= len(set(names)) + 1


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["", None, 7, "a", "b", "c"]) | VALUES,
        "status": st.sampled_from(["completed", "", None, "odd"]) | VALUES,
        "metadata": VALUES | st.fixed_dictionaries({METADATA_REF: VALUES}),
        "filename": VALUES,
    },
)


@examples(120)
@given(KINDS, st.lists(VALUES | ENTRIES, max_size=25), st.booleans() | VALUES, VALUES)
def test_every_entry_that_can_be_named_is_told_and_every_other_counted(kind, data, has_more, more):
    """An entry that cannot be named is skipped, unless it may be a job of ours: then there is no list at all."""
    page = page_of({"data": data, "has_more": has_more, "first_id": more, "last_id": more})
    client = client_of(*[page] * 3)
    named = [entry["id"] for entry in data if isinstance(entry, dict) and is_name(entry.get("id"))]
    try:
        found = read(client, kind)
    except VendorError:
        assert is_lost_mark(kind, data) or has_more is True or (has_more is not False and len(data) >= 20)
        return
    assert found == list(dict.fromkeys(named))
    assert client.skipped_entries == len(data) - len(named)
    assert not is_lost_mark(kind, data)


def is_name(value):
    return isinstance(value, str) and value != ""


def is_lost_mark(kind, data):
    return kind == "batches" and any(
        isinstance(entry, dict)
        and not is_name(entry.get("id"))
        and isinstance(entry.get("metadata"), dict)
        and METADATA_REF in entry["metadata"]
        for entry in data
    )


@examples(60)
@given(
    KINDS,
    ITEMS,
    st.lists(
        st.tuples(st.integers(0, 260), st.sampled_from([None, 7, "x", [], {}, {"id": None}])), max_size=9
    ),
    st.sampled_from([None, 20, 33, 100]),
    st.sampled_from(["true", "absent"]),
)
def test_odd_entries_anywhere_hide_no_other(kind, count, odd, own_limit, has_more):
    """As few as leave no page without an id: such a page is refused."""
    ids = [f"{kind}-{number}" for number in range(count)]
    vendor = WithOdd(ids, own_limit=own_limit, has_more=has_more, extra={}, item={})
    vendor.odd = [(at, entry) for at, entry in odd if at < count]
    client = client_of(vendor)

    assert read(client, kind) == ids
    assert client.skipped_entries == len(vendor.odd)


class WithOdd(Listing):
    """Behind some items of its list stand entries that name nothing."""

    odd: list[tuple[int, Any]]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        said = super().handle_request(request).json()
        data = []
        for item in said["data"]:
            data.append(item)
            data += [entry for at, entry in self.odd if self.ids[at] == item["id"]]
        return page_of({**said, "data": data})


@given(KINDS, st.sampled_from([1, 500, 4000]))
def test_a_huge_page_is_a_page(kind, count):
    item = {
        "id": "",
        "status": "in_progress",
        "metadata": {"k" * 60: "v" * 500},
        "errors": {"data": ["e" * 900] * 3},
    }
    data = [{**item, "id": f"x-{number}"} for number in range(count)]
    pages = [page_of({"data": data, "has_more": False})]

    assert len(read(client_of(*pages), kind)) == count
