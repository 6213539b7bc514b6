from pathlib import Path

import pytest

from millrace.wrangler.finding import find_wrangler


def make(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


@pytest.mark.parametrize(
    ("paths", "chosen", "others"),
    [
        (["wrangler.toml"], "wrangler.toml", None),
        (["wrangler.toml", "wrangler.jsonc"], "wrangler.jsonc", "wrangler.toml"),
        (["wrangler.toml", "wrangler.jsonc", "wrangler.json"], "wrangler.json", "wrangler.jsonc and wrangler.toml"),
    ],
)
def test_of_several_side_by_side_wranglers_order_decides_and_the_others_are_named(tmp_path, paths, chosen, others):
    make(tmp_path, *paths)

    path, warning = find_wrangler(tmp_path)

    assert path == tmp_path / chosen
    assert warning == (f"{path} is read; beside it, and not read: {others}." if others else None)


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["wrangler.toml"], "wrangler.toml"),
        (["a/wrangler.toml", "wrangler.toml"], "a/wrangler.toml"),
        (["a/b/wrangler.jsonc", "a/wrangler.jsonc"], "a/b/wrangler.jsonc"),
        (["a/b/wrangler.json", "a/wrangler.toml"], "a/b/wrangler.json"),
    ],
)
def test_folders_further_up_are_looked_at_without_a_warning(tmp_path, paths, chosen):
    make(tmp_path, "a/b/handlers.py", *paths)

    assert find_wrangler(tmp_path / "a" / "b") == (tmp_path / chosen, None)


def test_the_kind_goes_before_the_distance_and_the_nearer_file_is_named(tmp_path):
    make(tmp_path, "wrangler.json", "a/wrangler.toml")

    path, warning = find_wrangler(tmp_path / "a")

    assert path == tmp_path / "wrangler.json"
    assert warning == f"{path} is read; nearer, and not read: {tmp_path / 'a' / 'wrangler.toml'}."


def test_without_a_file_up_to_the_root_there_is_none(tmp_path):
    assert find_wrangler(tmp_path) == (None, None)


def test_a_folder_of_that_name_is_passed_over(tmp_path):
    (tmp_path / "wrangler.json").mkdir()
    make(tmp_path, "wrangler.toml")

    assert find_wrangler(tmp_path) == (tmp_path / "wrangler.toml", None)


def test_a_relative_folder_is_looked_at_from_the_current_one(tmp_path, monkeypatch):
    make(tmp_path, "wrangler.toml", "a/handlers.py")
    monkeypatch.chdir(tmp_path / "a")

    assert find_wrangler(Path()) == (tmp_path / "wrangler.toml", None)
