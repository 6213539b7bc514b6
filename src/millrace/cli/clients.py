"""What the commands share that use the client: how it is made, times as they are typed, the report in the end."""

import argparse
import os
from datetime import datetime

from millrace.cli.printing import print_json, print_lines
from millrace.client.synchronous import Client
from millrace.clock import read_rfc_3339


def client_of(arguments: argparse.Namespace) -> Client:
    """Make the client of the server that is named, else of the environment's."""
    return Client.from_env(os.environ, url=arguments.url, token=arguments.token)


def moment_of(arguments: argparse.Namespace, flag: str, text: str | None) -> datetime | None:
    """Read a time; one that is none ends the command as wrongly used."""
    if text is None:
        return None
    moment = read_rfc_3339(text)
    if moment is None:
        arguments.refuse(f"{flag} is {text!r}; expected a time with its offset, such as 2026-12-24T18:00:00+01:00")
    return moment


def report(arguments: argparse.Namespace, result: object, sentence: str) -> int:
    """Print the result as JSON, or the sentence; give the exit code."""
    if arguments.json:
        print_json(result)
    else:
        print_lines(sentence)
    return 0
