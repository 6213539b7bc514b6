"""Wrangler files for the tests: written, read, refused."""

import json

import pytest

from millrace.errors import ConfigurationError
from millrace.wrangler.reading import read_wrangler


def write(folder, text, name="wrangler.toml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_toml(folder, text, environment=None):
    return read_wrangler(write(folder, text), environment)


def read_json(folder, value, environment=None):
    return read_wrangler(write(folder, json.dumps(value), "wrangler.json"), environment)


def warnings(file):
    return [warning.partition(": ")[2] for warning in file.warnings]


def problems(folder, value, environment=None):
    with pytest.raises(ConfigurationError) as refused:
        read_json(folder, value, environment)
    return [line.removeprefix(f"{folder / 'wrangler.json'}:1: ") for line in str(refused.value).split("\n  ")]


def refusal(path, environment=None):
    with pytest.raises(ConfigurationError) as refused:
        read_wrangler(path, environment)
    return str(refused.value)
