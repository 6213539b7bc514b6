"""A reference leads to what it names, and an error says what is wrong with it."""

import queue
import sys

import pytest

from millrace.errors import ConfigurationError
from millrace.programs import load_module, load_object


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave the search path and the modules as they were."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_found_in_the_folder_and_imports_what_lies_beside_it(tmp_path):
    write(tmp_path, "src/prices.py", "PRICE = 3\n")
    write(tmp_path, "src/shop.py", "from prices import PRICE\ndef bill(): return PRICE\n")

    bill = load_object("src/shop.py:bill", tmp_path)

    assert bill() == 3


def test_a_module_is_found_in_the_folder(tmp_path):
    write(tmp_path, "trade/__init__.py", "")
    write(tmp_path, "trade/orders.py", "def take(): return 'taken'\n")

    assert load_object("trade.orders:take", tmp_path)() == "taken"


def test_a_file_is_run_once_however_often_it_is_named(tmp_path):
    write(tmp_path, "twice.py", "def one(): ...\ndef two(): ...\n")

    assert load_object("twice.py:one", tmp_path).__globals__ is load_object("twice.py:two", tmp_path).__globals__


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path):
    first = load_module(write(tmp_path, "a/entry.py", "NAME = 'a'\n"))
    second = load_module(write(tmp_path, "b/entry.py", "NAME = 'b'\n"))

    assert (first.NAME, second.NAME) == ("a", "b")


def test_a_file_does_not_take_the_place_of_a_module_of_python(tmp_path):
    module = load_module(write(tmp_path, "queue.py", "NAME = 'mine'\n"))

    assert module.NAME == "mine"
    assert sys.modules["queue"] is queue


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("worker", "'worker' is no reference; expected package.module:name or path.py:name"),
        ("missing.py:handle", "missing.py: there is no such file"),
        ("no_such_module:handle", "no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("good.py:handel", "good.py has no 'handel'; did you mean handle?"),
        ("good.py:zzz", "good.py has no 'zzz'; it has handle, other"),
        ("broken.py:handle", "broken.py cannot be imported: ValueError: no luck"),
        ("exits.py:handle", "exits.py cannot be imported: SystemExit: 3"),
        ("wrong.py:handle", "wrong.py cannot be imported: SyntaxError"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, reference, sentence):
    write(tmp_path, "good.py", "def handle(): ...\ndef other(): ...\n")
    write(tmp_path, "broken.py", "raise ValueError('no luck')\n")
    write(tmp_path, "exits.py", "raise SystemExit(3)\n")
    write(tmp_path, "wrong.py", "def handle(:\n")

    with pytest.raises(ConfigurationError) as caught:
        load_object(reference, tmp_path)

    assert sentence in str(caught.value)


def test_a_file_that_failed_is_run_again_when_it_is_named_again(tmp_path):
    path = write(tmp_path, "later.py", "raise ValueError('not yet')\n")
    with pytest.raises(ConfigurationError):
        load_module(path)

    path.write_text("NAME = 'now, and of another length'\n")

    assert load_module(path).NAME.startswith("now")
