import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import obstore
import pytest

from millrace.errors import ConfigurationError, InvalidInput, ObjectNotFound, ObjectTooLarge, StoreUnavailable
from millrace.resources.objects.choice import make_objects
from millrace.resources.objects.contract import ObjectStore, check_key
from millrace.resources.objects.files import FileObjects
from millrace.resources.objects.s3 import R2Settings, S3Objects
from tests.unit.bucket import serve_bucket

KEY = "uploads/acme/run-1/Bericht über alles.pdf"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bucket() -> Iterator[R2Settings]:
    with serve_bucket() as settings:
        yield settings


@pytest.fixture(params=["files", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    r2 = request.getfixturevalue("bucket") if request.param == "s3" else None
    return make_objects(tmp_path, r2)


async def _chunks(*chunks: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then is not None:
        raise then


async def _put(objects: ObjectStore, key: str, *chunks: bytes, max_bytes: int = 100 * MIB, **more: Exception) -> object:
    return await objects.put(key, _chunks(*chunks, **more), content_type="application/pdf", max_bytes=max_bytes)


async def _read(objects: ObjectStore, key: str) -> bytes:
    return b"".join([piece async for piece in await objects.get(key)])


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("chunks", [(), (b"a", b"", b"bc"), (bytes(range(256)) * 4096,) * 11])
async def test_what_was_put_is_what_is_got(objects: ObjectStore, chunks: tuple[bytes, ...]) -> None:
    stored = await _put(objects, KEY, *chunks)

    assert await _read(objects, KEY) == b"".join(chunks)
    assert await objects.stat(KEY) == stored
    assert stored.size == sum(map(len, chunks))


async def test_a_second_put_takes_the_place_of_the_first(objects: ObjectStore) -> None:
    first = await _put(objects, KEY, b"first")

    second = await _put(objects, KEY, b"second one")

    assert await _read(objects, KEY) == b"second one"
    assert second.etag != first.etag


async def test_an_object_that_nobody_put_is_not_found(objects: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound, match="no/such"):
        await objects.get("no/such/object")

    assert await objects.stat("no/such/object") is None


async def test_a_deleted_object_is_gone_and_may_be_deleted_again(objects: ObjectStore) -> None:
    await _put(objects, KEY, b"bytes")

    await objects.delete(KEY)
    await objects.delete(KEY)

    assert await objects.stat(KEY) is None


async def test_more_than_is_allowed_is_refused_while_it_comes_and_leaves_nothing(objects: ObjectStore) -> None:
    key = "uploads/too/large"
    left: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            left.append(b"x" * MIB)
            yield left[-1]

    with pytest.raises(ObjectTooLarge, match="10,485,760 bytes"):
        await objects.put(key, chunks(), content_type="text/plain", max_bytes=10 * MIB)

    assert len(left) == 11
    assert await objects.stat(key) is None


async def test_an_upload_that_breaks_off_leaves_what_was_there(objects: ObjectStore) -> None:
    await _put(objects, KEY, b"the whole of it")

    with pytest.raises(ConnectionError):
        await _put(objects, KEY, b"x" * 9 * MIB, then=ConnectionError("the client has left"))

    assert await _read(objects, KEY) == b"the whole of it"


async def test_an_upload_that_is_cancelled_leaves_nothing(objects: ObjectStore) -> None:
    key, waiting = "uploads/cancelled", asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 9 * MIB
        waiting.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(objects.put(key, chunks(), content_type="text/plain", max_bytes=100 * MIB))
    await waiting.wait()
    putting.cancel()
    with suppress(asyncio.CancelledError):
        await putting

    assert await objects.stat(key) is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "uploads/../../etc/passwd",
        "uploads/./x",
        "uploads//x",
        "uploads/x/",
        "..\\x",
        "x\0y",
        "x\ny",
        "\udc80",
        "x" * 256,
        "ü" * 128,
        "/".join(["x" * 200] * 6),
    ],
)
async def test_a_key_that_two_systems_could_read_differently_is_refused(objects: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidInput, match="object key is"):
        await _put(objects, key, b"bytes")


@pytest.mark.parametrize("key", ["a", "a b", "uploads/ü/..x", ".x", "x" * 255, "a/b/c.pdf", "日本/語"])
def test_other_keys_are_taken_as_they_are(key: str) -> None:
    assert check_key(key) == key


async def test_a_folder_keeps_nothing_outside_itself_and_no_traces_of_what_failed(tmp_path: Path) -> None:
    objects = FileObjects(tmp_path / "objects")
    await _put(objects, KEY, b"bytes")

    with suppress(ObjectTooLarge):
        await _put(objects, "other", b"bytes", max_bytes=2)

    assert _files_below(tmp_path) == [tmp_path / "objects" / "kept" / KEY]


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c/d")])
async def test_a_key_that_is_the_beginning_of_another_is_refused_by_a_folder(
    tmp_path: Path, first: str, second: str
) -> None:
    objects = FileObjects(tmp_path)
    await _put(objects, first, b"bytes")

    with pytest.raises(InvalidInput, match="is there already"):
        await _put(objects, second, b"bytes")

    assert await objects.stat(second) is None
    assert await _read(objects, first) == b"bytes"


async def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    arriving = tmp_path / "arriving"
    arriving.mkdir()
    for name, age_seconds in (("old", 90_000), ("young", 60)):
        (arriving / name).write_bytes(b"half of")
        at = (arriving / name).stat().st_mtime - age_seconds
        os.utime(arriving / name, (at, at))

    await _put(FileObjects(tmp_path), KEY, b"bytes")

    assert [path.name for path in arriving.iterdir()] == ["young"]


async def test_a_folder_that_cannot_be_written_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file where the folder should be")

    with pytest.raises(StoreUnavailable, match="folder of objects cannot be used"):
        await _put(FileObjects(tmp_path / "objects"), KEY, b"bytes")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"bucket": "missing"}, "NoSuchBucket"), ({"endpoint": "http://127.0.0.1:9"}, "no answer")],
)
async def test_a_bucket_that_does_not_work_is_said_to_be_unavailable(
    bucket: R2Settings, changes: dict[str, str], sentence: str
) -> None:
    objects = S3Objects(msgspec.structs.replace(bucket, **changes))

    with pytest.raises(StoreUnavailable, match=sentence) as refused:
        await objects.get(KEY)

    assert "secret" not in str(refused.value)


async def test_a_bucket_knows_the_content_type(bucket: R2Settings) -> None:
    objects = S3Objects(bucket)
    await _put(objects, KEY, b"bytes")

    found = await obstore.get_async(objects._store, KEY)

    assert found.attributes["Content-Type"] == "application/pdf"


def test_variables_of_another_tool_do_not_change_the_credentials(
    bucket: R2Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-tool")

    made = S3Objects(bucket)._store

    assert made.credential_provider()["token"] is None


def test_settings_do_not_show_their_secret(bucket: R2Settings) -> None:
    assert bucket.secret_access_key not in repr(bucket)


def test_an_endpoint_that_is_no_url_is_refused(bucket: R2Settings) -> None:
    with pytest.raises(ConfigurationError, match="R2_ENDPOINT"):
        S3Objects(msgspec.structs.replace(bucket, endpoint="account.r2.cloudflarestorage.com"))
