"""A bucket of a real S3 server in this process, on a free port."""

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from millrace.resources.objects.s3 import R2Settings

NAME = "uploads"


@contextmanager
def serve_bucket() -> Iterator[R2Settings]:
    """Serve a bucket; give the settings that reach it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        endpoint = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{NAME}", method="PUT")).close()
        yield R2Settings(endpoint=endpoint, access_key_id="id-of-tests", secret_access_key="secret", bucket=NAME)
    finally:
        server.stop()
