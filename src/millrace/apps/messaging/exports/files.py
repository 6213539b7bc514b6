"""The files of exports: their keys, and how they go."""

import hashlib
from collections.abc import Sequence
from functools import partial

from millrace.ids import new_id
from millrace.platform import Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.work import Work

REMOVED_FILES = 100


def object_key(account_id: str, export_id: str, format: str) -> str:
    """Give the key of a new file: ids, which may be anything, are not in it."""
    folder = hashlib.sha256(f"{account_id}/{export_id}".encode()).hexdigest()[:32]
    return f"exports/{folder}/{new_id()}.{format}"


async def remove_files(platform: Platform, objects: ObjectStore, account_id: str, before_ms: int) -> int:
    """Remove the files of an account's exports that were finished before a time, and give how many they were.

    What a failed export may have left behind before that time goes, too, uncounted. Their rows stay.

    Raises:
        StoreUnavailable: a file cannot be removed now; those before it are.
    """
    await _remove(platform, objects, account_id, before_ms, "exports_cut_off")
    return await _remove(platform, objects, account_id, before_ms, "exports_with_files")


async def _remove(platform: Platform, objects: ObjectStore, account_id: str, before_ms: int, statement: str) -> int:
    bindings = {"account_id": account_id, "before_ms": before_ms, "limit": REMOVED_FILES}
    removed = 0
    while found := await platform.read(lambda work: work.fetch(statement, bindings)):
        for _, key in found:
            await objects.delete(key)
        removed += await platform.write(partial(_mark, account_id, [export_id for export_id, _ in found]))
    return removed


def _mark(account_id: str, ids: Sequence[str], work: Work) -> int:
    """Note that files are gone; two clean-ups at once count each file once."""
    rows = [{"account_id": account_id, "id": export_id, "now_ms": work.now_ms} for export_id in ids]
    return len(work.tx.apply_many("remove_export", rows))
