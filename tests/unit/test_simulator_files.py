"""The simulator's Files API: refusals first, then uploads, lists, contents, deletion and expiry."""

from __future__ import annotations

import httpx
import pytest
from simulator_door import KEY, Door, texts

from voyage_jobs.simulator import blobs
from voyage_jobs.simulator.messages import ApiError
from voyage_jobs.simulator.multipart import read_form

DAY_S = 86_400


@pytest.mark.parametrize(
    ("name", "purpose", "status", "word"),
    [
        ("in.jsonl", "fine-tune", 400, "purpose"),
        ("in.json", "batch", 400, ".jsonl"),
    ],
)
def test_an_upload_is_refused(name: str, purpose: str, status: int, word: str) -> None:
    answer = Door().upload(b"{}\n", name, purpose)

    assert answer.status_code == status
    assert word in answer.json()["detail"]


def test_an_upload_without_a_file_or_as_plain_json_is_refused() -> None:
    door = Door()

    assert door.http.post("/files", json={"purpose": "batch"}).status_code == 400
    boundary = {"Content-Type": "multipart/form-data; boundary=xx"}
    only_purpose = b'--xx\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--xx--\r\n'
    answer = door.http.post("/files", content=only_purpose, headers=boundary)
    assert (answer.status_code, answer.json()["detail"]) == (400, "Argument 'file' is required.")


def test_an_upload_that_ends_early_or_is_too_large_leaves_nothing() -> None:
    door = Door(max_file_bytes=1000)
    boundary = {"Content-Type": "multipart/form-data; boundary=xx"}
    head = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'

    assert door.http.post("/files", content=head + b"{}\n", headers=boundary).status_code == 400
    assert door.upload(b"x" * 1001).status_code == 413
    assert Door(max_file_bytes=1, file_too_large_status=400).upload(b"xx").status_code == 400
    assert door.http.get("/files").json()["data"] == []


def stored(data: bytes) -> blobs.Blob:
    body = blobs.BlobStore().new()
    for at in range(0, len(data), 10):
        body.append(data[at : at + 10])
    return body


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("spill", [10, 150, 200, 1 << 20])
def test_a_form_reads_the_same_in_pieces_of_any_size(
    chunk: int, spill: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'{"custom_id": "a"}\r\n--not-it\r\n\r\n-\r\n--x\r\n'
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
        b"Content-Type: application/jsonl\r\n\r\n" + content + b"\r\n--xyz--\r\n"
    )
    monkeypatch.setattr(blobs, "SPILL_BYTES", spill)
    monkeypatch.setattr(blobs, "CHUNK_BYTES", chunk)
    upload = stored(body)
    form = read_form('multipart/form-data; boundary="xyz"', upload)

    assert (form.filename, form.fields, upload.read()) == ("a.jsonl", {"purpose": "batch"}, content)
    assert (upload.size, b"".join(upload.chunks())) == (len(content), content)
    assert b"\n".join(line for _, line in upload.lines()) == content[:-1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"y" * (1 << 16), "ends before"),
        (b"--x\r\nname" + b"y" * (1 << 15) + b"\r\n\r\n\r\n--x--\r\n", "too large"),
        (b"--x\r\n\r\n" + b"y" * (1 << 17) + b"\r\n--x--\r\n", "too large"),
    ],
)
def test_a_form_out_of_bounds_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ApiError, match=reason):
        read_form("multipart/form-data; boundary=x", stored(body))


def test_key_and_host_are_checked() -> None:
    door = Door()
    for headers in (
        {"Authorization": "Bearer nope"},
        {"Authorization": ""},
        {"Authorization": f"Basic {KEY}"},
    ):
        answer = door.http.get("/files", headers=headers)
        assert answer.status_code == 401
        assert KEY not in answer.text
    wrong_host = Door(wrong_key_status=403)
    assert wrong_host.http.get("/files", headers={"Authorization": "Bearer al-x"}).status_code == 403
    assert Door(api_key=None).http.get("/files").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models", 404),
        ("PUT", "/files", 405),
        ("GET", "/files/file-unknown", 404),
        ("GET", "/files/file-unknown/content", 404),
        ("DELETE", "/files/file-unknown", 404),
        ("GET", "/files?limit=0", 400),
        ("GET", "/files?limit=many", 400),
        ("GET", "/files?order=up", 400),
        ("GET", "/files?after=file-unknown", 400),
        ("POST", "/files/delete", 400),
    ],
)
def test_refusals_carry_a_detail(method: str, path: str, status: int) -> None:
    answer = Door().http.request(method, path)

    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_a_file_object_has_the_documented_fields() -> None:
    door = Door()
    file = door.upload(b"{}\n").json()

    assert file == {
        "id": file["id"],
        "object": "file",
        "bytes": 3,
        "created_at": "2026-05-28T20:26:40.000000+00:00",
        "expires_at": "2026-06-27T20:26:40.000000+00:00",
        "filename": "in.jsonl",
        "purpose": "batch",
    }
    assert file["id"].startswith("file-")
    assert door.http.get(f"/files/{file['id']}").json() == file
    assert door.content(file["id"]) == b"{}\n"


def test_older_samples_differ_in_ids_times_and_expiry() -> None:
    door = Door(id_separator="_", timestamps="zoneless", upload_shows_expires_at=False)
    file = door.upload(b"{}\n").json()

    assert file["id"].startswith("file_")
    assert file["created_at"] == "2026-05-28 20:26:40"
    assert "expires_at" not in file
    assert "expires_at" in door.http.get(f"/files/{file['id']}").json()


def test_a_large_upload_comes_back_whole() -> None:
    door = Door()
    data = b"".join(f"{n:063d}\n".encode() for n in range(50_000))
    file = door.upload(data).json()

    assert file["bytes"] == len(data)
    assert door.content(file["id"]) == data


def test_lists_go_newest_first_in_pages_and_by_purpose() -> None:
    door = Door()
    made = []
    for n in range(5):
        made.append(door.upload(b"{}\n", f"{n}.jsonl").json()["id"])
        door.clock.advance(n % 2)  # some share their time
    first = door.http.get("/files?limit=2").json()

    assert [f["id"] for f in first["data"]] == made[:2:-1]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[4], made[3], True)
    rest = door.http.get(f"/files?limit=3&after={first['last_id']}").json()
    assert [f["id"] for f in rest["data"]] == made[2::-1]
    assert rest["has_more"] is False
    assert [f["id"] for f in door.http.get("/files?order=asc").json()["data"]] == made
    assert door.http.get("/files?purpose=batch-output").json()["data"] == []


def test_deletion_is_single_or_all_or_nothing() -> None:
    door = Door()
    one, two, three = (door.upload(b"{}\n").json()["id"] for _ in range(3))

    assert door.http.delete(f"/files/{one}").json() == {"id": one, "object": "file", "deleted": True}
    assert door.http.post("/files/delete", json={"file_ids": two}).status_code == 400
    partly = door.http.post("/files/delete", json={"file_ids": [two, one]}).json()
    assert partly == {"success": False, "error_file_ids": [one]}
    assert door.http.get(f"/files/{two}").status_code == 200
    assert door.http.post("/files/delete", json={"file_ids": [two, three]}).json() == {"success": True}
    assert len(door.simulator.files) == 0


def test_deletion_may_be_answered_with_false() -> None:
    door = Door({"not_deleted": {"times": 2}})
    file_id = door.upload(b"{}\n").json()["id"]

    assert door.http.delete(f"/files/{file_id}").json()["deleted"] is False
    assert door.http.post("/files/delete", json={"file_ids": [file_id]}).json()["success"] is False
    assert door.http.delete(f"/files/{file_id}").json()["deleted"] is True


def test_files_are_gone_after_thirty_days() -> None:
    door = Door()
    batch = door.finish(door.start(texts(1)))
    door.clock.advance(29 * DAY_S)
    assert door.http.get(f"/files/{batch['output_file_id']}/content").status_code == 200
    door.clock.advance(DAY_S)
    assert door.http.get(f"/files/{batch['output_file_id']}/content").status_code == 404
    assert door.create(batch["input_file_id"]).status_code == 404
    assert door.batch(batch["id"])["status"] == "completed"


def test_ranges_are_an_option() -> None:
    plain, ranged = Door(), Door(ranges=True)
    for door in (plain, ranged):
        door.file_id = door.upload(b"0123456789").json()["id"]  # type: ignore[attr-defined]

    def get(door: Door, value: str) -> httpx.Response:
        return door.http.get(f"/files/{door.file_id}/content", headers={"Range": value})  # type: ignore[attr-defined]

    assert get(plain, "bytes=4-").status_code == 200
    assert get(plain, "bytes=4-").content == b"0123456789"
    part = get(ranged, "bytes=4-6")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"456", "bytes 4-6/10")
    assert get(ranged, "bytes=7-").content == b"789"
    assert get(ranged, "bytes=10-").status_code == 416
    assert get(ranged, "bytes=5-4").status_code == 416


def test_contents_may_stand_on_another_host_that_refuses_keys() -> None:
    door = Door(redirect_to="https://storage.example")
    file_id = door.upload(b"hello").json()["id"]
    hop = door.http.get(f"/files/{file_id}/content")

    assert hop.status_code == 302
    location = hop.headers["location"]
    assert location.startswith("https://storage.example/_storage/")
    assert door.http.get(location, headers={"Authorization": f"Bearer {KEY}"}).status_code == 400
    bare = httpx.Client(transport=door.transport)
    assert bare.get(location).content == b"hello"
    assert door.content(file_id) == b"hello"  # httpx drops the key when the host changes
    assert "authorization" not in door.transport.requests[-1].headers
    door.clock.advance(601)
    assert bare.get(location).status_code == 403


def test_a_cut_strikes_where_the_bytes_are() -> None:
    door = Door({"body_cut": {"nth": 1}}, redirect_to="https://storage.example")
    file_id = door.upload(b"hello").json()["id"]

    with pytest.raises(httpx.RemoteProtocolError):
        door.content(file_id)
    assert door.content(file_id) == b"hello"


def test_answers_carry_the_vendor_s_date_and_a_request_id() -> None:
    door = Door()
    first = door.http.get("/files").headers
    door.clock.advance(61)
    second = door.http.get("/files").headers

    assert (first["date"], second["date"]) == (
        "Thu, 28 May 2026 20:26:40 GMT",
        "Thu, 28 May 2026 20:27:41 GMT",
    )
    assert first["request-id"] != second["request-id"]


def test_a_client_s_clock_that_jumps_does_not_move_the_vendor_s() -> None:
    door = Door()
    door.clock.step(3600)

    assert door.http.get("/files").headers["date"] == "Thu, 28 May 2026 20:26:40 GMT"
