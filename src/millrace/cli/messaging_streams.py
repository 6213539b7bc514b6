"""`millrace messaging watch` and the files of exports: answers that are read as they come."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec

from millrace.cli.clients import report
from millrace.cli.messaging import change_row, path_of
from millrace.cli.messaging_trial import BAD, GOOD
from millrace.cli.printing import counted, print_lines
from millrace.cli.tail import SILENT_SECONDS, read_events
from millrace.client.address import CONNECT_SECONDS, connection_settings, root_of, server_of
from millrace.client.answers import Answer
from millrace.client.refusals import refusal_of
from millrace.client.wire import quoted
from millrace.errors import ConfigurationError, ServerUnreachable
from millrace.ids import new_id

ENDED = (*GOOD, *BAD)


def watch(arguments: argparse.Namespace) -> int:
    """Print each change of a message until it has ended; with --follow also what a provider reports afterwards."""
    with _opened(arguments, path_of(arguments.id, "/events")) as chunks:
        for event in read_events(chunks):
            change = msgspec.json.decode(event.data)
            if arguments.json:
                sys.stdout.buffer.write(event.data.encode() + b"\n")
            else:
                print_lines("  ".join(change_row(change)).rstrip())
            sys.stdout.flush()
            if change["status"] in ENDED and not arguments.follow:
                break
    return 0


def download(arguments: argparse.Namespace) -> int:
    """Write an export's file; what is there already is replaced once the new one is whole."""
    output: Path = arguments.output
    part = output.with_name(f".{output.name}.{new_id()}")
    try:
        with _opened(arguments, f"/api/exports/{quoted(arguments.id)}/download") as chunks:
            written = _write(part, chunks)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return report(arguments, {"file": str(output), "bytes": written}, f"{output}: {counted(written, 'byte')}")


@contextmanager
def _opened(arguments: argparse.Namespace, path: str) -> Iterator[Iterator[bytes]]:
    """Open an answer and give its bytes as they come.

    Raises:
        ServerUnreachable: there is no server, or the answer broke off.
        MillraceError: the server refuses.
    """
    url, token = server_of(os.environ, arguments.url, arguments.token)
    root = root_of(url)
    timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
    try:
        with (
            httpx2.Client(**connection_settings(root, token), timeout=timeout) as http,
            http.stream("GET", root + path) as response,
        ):
            if response.status_code != 200:
                answer = Answer(response.status_code, response.headers, response.read())
                raise refusal_of(answer, root, has_token=token is not None)
            yield response.iter_bytes()
    except httpx2.RequestError as error:
        raise ServerUnreachable(f"{root} cannot be reached: {error or type(error).__name__}") from None


def _write(part: Path, chunks: Iterator[bytes]) -> int:
    try:
        with part.open("wb") as file:
            return sum(file.write(chunk) for chunk in chunks)
    except OSError as error:
        raise ConfigurationError(f"{part.parent} cannot take the file: {error.strerror}") from None
