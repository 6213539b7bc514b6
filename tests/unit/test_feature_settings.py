"""Settings of queues and consumers that go beyond Cloudflare's."""

import pytest

from millrace.consumer import RateLimit, make_consumer_settings
from millrace.errors import InvalidConsumerSettings, InvalidQueueName, InvalidQueueSettings
from millrace.queue import AutoRedrive, Forward, QueueSettings, change_queue_settings


def test_a_consumer_has_no_rate_limit_unless_it_is_given_one():
    settings = make_consumer_settings("http_pull", {"rate_limit": None})

    assert (settings.rate_limit, settings.head_start_seconds) == (None, 600)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"messages": 5}, RateLimit(5, 1)),
        ({"messages": 5.0, "per_seconds": 0.5}, RateLimit(5, 0.5)),
        ({"messages": 1_000_000, "per_seconds": 86_400}, RateLimit(1_000_000, 86_400)),
    ],
)
def test_a_rate_limit_is_messages_per_seconds(given, expected):
    settings = make_consumer_settings("worker", {"rate_limit": given, "head_start_seconds": 0})

    assert (settings.rate_limit, settings.head_start_seconds) == (expected, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate_limit": 5}, "rate_limit is 5; expected"),
        ({"rate_limit": {}}, "rate_limit is {}"),
        ({"rate_limit": {"messages": 0}}, "rate_limit.messages is 0; expected a whole number from 1 to 1000000"),
        ({"rate_limit": {"messages": 1.5}}, "rate_limit.messages is 1.5"),
        ({"rate_limit": {"messages": 1, "per_seconds": 0}}, "rate_limit.per_seconds is 0; expected a number above 0"),
        ({"rate_limit": {"messages": 1, "per_seconds": 86_401}}, "up to 86400"),
        ({"rate_limit": {"messages": 1, "per_seconds": float("nan")}}, "per_seconds is nan"),
        ({"rate_limit": {"messages": True}}, "rate_limit.messages is True"),
        ({"head_start_seconds": 86_401}, "head_start_seconds is 86401"),
        ({"head_start_seconds": -1}, "head_start_seconds is -1"),
    ],
)
def test_a_limit_or_head_start_that_is_none_is_refused(given, said):
    with pytest.raises(InvalidConsumerSettings, match=said):
        make_consumer_settings("worker", given)


def test_settings_of_a_queue_are_merged_into_the_present_ones():
    present = change_queue_settings(
        QueueSettings(), {"deduplicate_content": True, "auto_redrive": {"after_seconds": 60}}
    )

    changed = change_queue_settings(
        present, {"forwards": [{"queue": "mail", "headers": {"Kind": "order"}}, {"queue": "b"}]}
    )

    assert changed.forwards == (Forward("mail", {"Kind": "order"}), Forward("b"))
    assert (changed.deduplicate_content, changed.auto_redrive) == (True, AutoRedrive(60, 1))


def test_null_ends_the_redriving():
    present = QueueSettings(auto_redrive=AutoRedrive(60))

    assert change_queue_settings(present, {"auto_redrive": None}).auto_redrive is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deduplication_seconds": 0}, "deduplication_seconds is 0; expected a whole number from 1 to 86400"),
        ({"deduplicate_content": 1}, "deduplicate_content is 1; expected true or false"),
        ({"forward_only": "yes"}, "forward_only is 'yes'"),
        ({"forwards": "mail"}, "forwards is 'mail'; expected a list of at most 20"),
        ({"forwards": [{"queue": "a"}] * 21}, "at most 20"),
        ({"forwards": ["mail"]}, "forwards has 'mail'"),
        ({"forwards": [{"headers": {}}]}, "expected {'queue': a name"),
        ({"forwards": [{"queue": 7}]}, "forwards has"),
        ({"forwards": [{"queue": "a", "header": {}}]}, "forwards has"),
        ({"forwards": [{"queue": "a", "headers": {"A": 1}}]}, "forwards has"),
        ({"auto_redrive": 60}, "auto_redrive is 60"),
        ({"auto_redrive": {"max_times": 1}}, "auto_redrive is"),
        ({"auto_redrive": {"after_seconds": -1}}, "auto_redrive.after_seconds is -1"),
        (
            {"auto_redrive": {"after_seconds": 1, "max_times": 0}},
            "auto_redrive.max_times is 0; expected a whole number",
        ),
    ],
)
def test_what_is_no_setting_of_a_queue_is_refused(given, said):
    with pytest.raises(InvalidQueueSettings, match=said):
        change_queue_settings(QueueSettings(), given)


def test_a_queue_to_forward_to_has_a_name_that_queues_can_have():
    with pytest.raises(InvalidQueueName):
        change_queue_settings(QueueSettings(), {"forwards": [{"queue": "Mail"}]})
