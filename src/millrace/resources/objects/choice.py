"""Which object store a program uses."""

from pathlib import Path

from millrace.resources.objects.contract import ObjectStore
from millrace.resources.objects.files import FileObjects
from millrace.resources.objects.s3 import R2Settings, S3Objects


def make_objects(folder: Path, r2: R2Settings | None) -> ObjectStore:
    """Make the store of a bucket when there are settings for one, else that of a folder, made when it is needed.

    Raises:
        ConfigurationError: the settings of the bucket are wrong, or its library is not installed.
    """
    return FileObjects(folder) if r2 is None else S3Objects(r2)
