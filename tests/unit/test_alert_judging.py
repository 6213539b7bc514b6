"""When a rule fires and when it clears, on a time that the tests move; and what a rule may be."""

from typing import Any

import pytest

from millrace.alerting.judging import OK, Standing, judge
from millrace.alerting.rules import Rule, check_known, make_rule
from millrace.errors import InvalidInput

HOOK = "https://hooks.example.com/a?key=hunter2"


def a_rule(**given: Any) -> Rule:
    fields = {"name": "full", "queue": "orders", "measure": "depth", "above": 10, **given}
    return make_rule(id="1", account_id="a", created_at_ms=0, given=fields, before=None)


def story(rule: Rule, *values: float | None, step_seconds: int = 5) -> list[str]:
    """Judge one value after the other; give the status after each, and what was told."""
    standing, told = OK, []
    for number, value in enumerate(values):
        standing, change = judge(standing, value, rule, number * step_seconds * 1000)
        told.append(f"{standing.status} {change}" if change else standing.status)
    return told


def test_a_rule_fires_once_and_clears_once():
    assert story(a_rule(), 10, 11, 12, 11, 10, 9) == ["ok", "firing fired", "firing", "firing", "ok cleared", "ok"]


def test_between_the_two_bounds_a_rule_stays_as_it_is():
    rule = a_rule(clear_below=5)

    assert story(rule, 8, 11, 8, 6, 8, 5, 8) == ["ok", "firing fired", "firing", "firing", "firing", "ok cleared", "ok"]


def test_what_does_not_hold_for_long_enough_does_not_fire():
    rule = a_rule(for_seconds=10)

    assert story(rule, 11, 11, 9, 11, 11, 11) == ["pending", "pending", "ok", "pending", "pending", "firing fired"]


def test_a_rule_clears_after_as_long():
    rule = a_rule(for_seconds=10)
    firing = [11, 11, 11]

    assert story(rule, *firing, 9, 11, 9, 9, 9)[3:] == ["firing", "firing", "firing", "firing", "ok cleared"]


def test_a_rule_of_nothing_at_all_clears_when_there_is_nothing():
    assert story(a_rule(above=0), 0, 1, 0) == ["ok", "firing fired", "ok cleared"]


def test_a_value_that_nobody_knows_changes_nothing():
    assert story(a_rule(for_seconds=10), 11, None, 11, None, 9, None) == [
        *("pending", "pending", "firing fired"),
        *("firing", "firing", "firing"),
    ]


def test_a_clock_that_was_set_back_begins_the_wait_anew():
    standing = Standing(status="pending", held_since_ms=60_000)

    after, change = judge(standing, 11, a_rule(for_seconds=10), 5_000)

    assert (after, change) == (Standing(status="pending", held_since_ms=5_000), None)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"name": ""}, "name is ''; expected 1 to 64 letters"),
        ({"name": "a b"}, "name is 'a b'"),
        ({"queue": "No"}, "Queue name 'No' is not valid"),
        ({"measure": "height"}, "measure is 'height'; expected one of depth, oldest_age_seconds, failure_rate"),
        ({"above": -1}, "above is -1; expected a number from 0"),
        ({"above": True}, "above is True; expected a number"),
        ({"measure": "failure_rate", "above": 1}, "above is 1; a failure rate is a share"),
        ({"clear_below": 11}, "clear_below is 11; expected at most above, which is 10"),
        ({"for_seconds": 86_401}, "for_seconds is 86401; expected a whole number from 0 to 86400"),
        ({"window_seconds": 9}, "window_seconds is 9; expected a whole number from 10"),
        ({"minimum": 0}, "minimum is 0; expected a whole number from 1"),
        ({"notify": [{}]}, r"notify\[0\] has \[\]; expected one way"),
        ({"notify": [{"webhook": HOOK}, {"webhook": HOOK, "pager": "1"}]}, r"notify\[1\] has \['pager', 'webhook'\]"),
        ({"notify": [{"webhook": "ftp://x"}]}, r"notify\[0\]\.webhook: url is not valid"),
        (
            {"notify": [{"webhook": HOOK, "secret": "whsec_eA=="}]},
            r"notify\[0\]\.secret is not valid; expected 'whsec_'",
        ),
        ({"notify": [{"webhook": HOOK, "secret": "ü"}]}, r"notify\[0\]\.secret is not valid"),
        ({"notify": [{"pager": "1", "secret": "x"}]}, r"notify\[0\]\.secret goes with a webhook only"),
        ({"notify": [{"pager": "1\n2"}]}, r"notify\[0\]\.pager is not 1 to 512 printable characters"),
        ({"notify": [{"pager": "1"}] * 2}, "notify names a target twice"),
        ({"notify": [{"pager": str(number)} for number in range(11)]}, "notify has 11 entries; expected at most 10"),
    ],
)
def test_a_wrong_field_is_named(given, sentence):
    with pytest.raises(InvalidInput, match=sentence) as refused:
        a_rule(**given)

    assert "hunter2" not in str(refused.value)


def test_a_way_or_a_rate_that_nobody_offers_is_refused_with_what_there_is():
    with pytest.raises(InvalidInput, match=r"notify\[0\] is 'fax'; expected one of pager, webhook"):
        check_known(a_rule(notify=[{"fax": "1"}]), {"webhook", "pager"}, set())
    with pytest.raises(InvalidInput, match="queue is 'orders', whose failure rate nobody counts; expected one of jobs"):
        check_known(a_rule(measure="failure_rate", above=0.5), {"webhook"}, {"jobs"})


def test_a_webhook_has_a_secret_and_keeps_it():
    first = a_rule(notify=[{"webhook": HOOK}])
    fields = {"name": "other", "queue": "orders", "measure": "depth", "above": 1}

    second = make_rule(
        id="1", account_id="a", created_at_ms=0, given={**fields, "notify": [{"webhook": HOOK}]}, before=first
    )

    assert first.notify[0].secret.startswith("whsec_")
    assert second.notify == first.notify
