"""File names as clients send them, and the object keys that are made of them."""

import re
import unicodedata
from hashlib import sha256

NAME_BYTES = 128
OURS = ("uploads/", "texts/")
FALLBACK = "file"
SEPARATORS = re.compile(r"[/\\]")
OTHERS = re.compile(r"[^\w.\- ]+")
DOTS = re.compile(r"\.{2,}")


def safe_name(text: str) -> str:
    """Make one segment of a key out of any text: letters, digits, `.`, `-`, `_` and spaces, 1 to 128 bytes.

    Only what stands behind the last slash counts; the ending of a name that is cut stays.
    """
    last = SEPARATORS.split(unicodedata.normalize("NFC", text))[-1]
    name = DOTS.sub(".", OTHERS.sub("_", last)).strip(" .")
    return _cut(name) or FALLBACK


def object_key(tenant_id: str, run_id: str, filename: str) -> str:
    """Give the key under which the object of a run lies."""
    return f"{folder_of(tenant_id)}{run_id}/{safe_name(filename)}"


def folder_of(tenant_id: str) -> str:
    """Give the prefix of a tenant's keys: one that no other tenant has, however much their names look alike."""
    name = safe_name(SEPARATORS.sub("_", tenant_id))
    if name != tenant_id:  # `~` is in no safe name
        name += f"~{sha256(tenant_id.encode()).hexdigest()[:16]}"
    return f"uploads/{name}/"


def is_of_another_tenant(key: str, tenant_id: str) -> bool:
    """Say whether a key lies where we keep uploads and texts, but not in the tenant's own folder."""
    return key.startswith(OURS) and not key.startswith(folder_of(tenant_id))


def _cut(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    ending = dot + ending if stem and len(ending.encode()) <= 16 else ""
    kept = name.encode()[: NAME_BYTES - len(ending.encode())].decode(errors="ignore")
    return kept.rstrip(" .") + ending
