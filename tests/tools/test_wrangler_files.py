"""The real wrangler on files of ours, and ours on files for it: the same words, and only warnings for what we add."""

import pytest

from millrace.errors import ConfigurationError
from millrace.wrangler.reading import read_wrangler

pytestmark = pytest.mark.xdist_group("cloudflare-tools")

EXTENDED = """
name = "shop"

[[queues.consumers]]
queue = "orders"
handler = "handlers:bill"
max_attempts = 3
backoff = { kind = "exponential", base_seconds = 2 }
flush_on = "high"
head_start_seconds = 60
rate_limit = { messages = 100, per_seconds = 60 }

[[queues.limits]]
queue = "orders"
max_backlog_messages = 1000
retention = 600
deduplicate_content = true

[[queues.forwards]]
queue = "orders"
to = "statistics"
"""
WRONG = """{
  // each entry is wrong in a way of its own
  "name": "shop",
  "vars": 1,
  "queues": {
    "producers": [{"queue": "orders"}],
    "consumers": [
      {"max_retries": 5},
      {"queue": "a", "max_batch_size": "10"},
      {"queue": "b", "max_concurrency": null},
      {"queue": "c", "dead_letter_queue": 1},
      {"queue": 2, "foo": 1},
    ],
  },
}"""
WRONG_LINES = [4, 6, 8, 9, 10, 11, 12]


def test_wrangler_only_warns_of_the_keys_that_are_ours(wrangler, tmp_path):
    file = tmp_path / "wrangler.toml"
    file.write_text(EXTENDED)

    said = wrangler(f"queues list --config {file}")

    assert 'Unexpected fields found in queues field: "limits","forwards"' in said
    assert '"handler","max_attempts","backoff","flush_on","head_start_seconds","rate_limit"' in said
    assert read_wrangler(file).warnings == ()


def test_what_we_refuse_in_a_file_wrangler_refuses_in_the_same_words(wrangler, tmp_path):
    file = tmp_path / "wrangler.jsonc"
    file.write_text(WRONG)

    said = wrangler(f"queues list --config {file}", code=1)

    with pytest.raises(ConfigurationError) as refused:
        read_wrangler(file)
    problems = [line.strip().split(": ", 1) for line in str(refused.value).splitlines()]
    assert [place for place, _ in problems] == [f"{file}:{line}" for line in WRONG_LINES]
    assert [sentence for _, sentence in problems if sentence not in said] == []
