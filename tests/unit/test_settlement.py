import pytest

from millrace.backoff import Backoff
from millrace.settlement import (
    Ack,
    Buried,
    Policy,
    Postpone,
    Reject,
    Released,
    Removed,
    Retry,
    decide,
    decide_lapse,
    is_last_delivery,
)

NOW = 1_000_000
POLICY = Policy(max_retries=2, retry_delay_seconds=5, dead_letter_queue="dead")
DROPPING = Policy(max_retries=2, retry_delay_seconds=5, dead_letter_queue=None)
DOUBLING = Backoff(kind="exponential", base_seconds=1, jitter=0.5)
GROWING = Policy(max_retries=9, retry_delay_seconds=5, dead_letter_queue="dead", max_attempts=4, backoff=DOUBLING)

CASES = [
    ("an ack removes", 1, Ack(), POLICY, Removed()),
    ("an ack of the last delivery removes", 3, Ack(), POLICY, Removed()),
    ("a retry is released after the consumer's delay", 1, Retry(), POLICY, Released(NOW + 5000, 1, 1)),
    ("a retry's own delay wins", 1, Retry(9), POLICY, Released(NOW + 9000, 1, 1)),
    ("a retry's own delay of nothing wins", 1, Retry(0), POLICY, Released(NOW, 1, 1)),
    ("a fraction of a second is kept", 1, Retry(0.25), POLICY, Released(NOW + 250, 1, 1)),
    ("the delivery before the last is released", 2, Retry(), POLICY, Released(NOW + 5000, 2, 1)),
    ("the last delivery is buried", 3, Retry(60), POLICY, Buried("dead", "max_retries")),
    ("the reason of the failure is kept", 3, Retry(reason="ValueError"), POLICY, Buried("dead", "ValueError")),
    ("without a dead-letter queue it is dropped", 3, Retry(), DROPPING, Removed("max_retries")),
    ("without a consumer it is released for ever", 99, Retry(), None, Released(NOW, 99, 1)),
    ("a rejection is buried at once", 1, Reject("no such user"), POLICY, Buried("dead", "no such user")),
    ("a rejection without a dead-letter queue is dropped", 1, Reject("x"), DROPPING, Removed("x")),
    ("a postponement costs no attempt", 3, Postpone(2), POLICY, Released(NOW + 2000, 2, 0)),
]


@pytest.mark.parametrize(
    ("attempts", "outcome", "policy", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_decide(attempts, outcome, policy, expected):
    assert decide(attempts, 0, outcome, policy, NOW, 0.5) == expected


GROWN = [
    ("a first failure waits the first delay", 1, 0, Retry(), 0.5, Released(NOW + 2000, 1, 1)),
    ("failures count for the delay, deliveries do not", 9, 1, Retry(), 0.5, Released(NOW + 4000, 9, 2)),
    ("chance makes a delay shorter", 1, 0, Retry(), 0.0, Released(NOW + 1000, 1, 1)),
    ("a retry's own delay wins over the backoff", 1, 2, Retry(0), 0.5, Released(NOW, 1, 3)),
    ("the last attempt is buried", 4, 3, Retry(9), 0.5, Buried("dead", "max_attempts")),
    ("the reason of the last attempt is kept", 4, 3, Retry(reason="ValueError"), 0.5, Buried("dead", "ValueError")),
    ("the last delivery is buried whatever has failed", 10, 0, Retry(), 0.5, Buried("dead", "max_retries")),
    ("an ack of the last attempt removes", 4, 3, Ack(), 0.5, Removed()),
    ("a postponement costs no failure", 4, 3, Postpone(1), 0.5, Released(NOW + 1000, 3, 3)),
]


@pytest.mark.parametrize(
    ("attempts", "failures", "outcome", "chance", "expected"), [case[1:] for case in GROWN], ids=[c[0] for c in GROWN]
)
def test_decide_with_a_backoff_and_a_limit_of_attempts(attempts, failures, outcome, chance, expected):
    assert decide(attempts, failures, outcome, GROWING, NOW, chance) == expected


LAPSED = [
    ("it waits the flat delay and counts no failure", 1, GROWING, Released(NOW + 5000, 1, 3)),
    ("the last delivery is buried", 10, GROWING, Buried("dead", "max_retries")),
    ("without a dead-letter queue it is dropped", 3, DROPPING, Removed("max_retries")),
    ("without a consumer it is released for ever", 99, None, Released(NOW, 99, 3)),
]


@pytest.mark.parametrize(
    ("attempts", "policy", "expected"), [case[1:] for case in LAPSED], ids=[case[0] for case in LAPSED]
)
def test_decide_about_a_lapsed_lease(attempts, policy, expected):
    assert decide_lapse(attempts, 3, policy, NOW) == expected


def test_a_policy_of_no_retries_allows_one_delivery():
    policy = Policy(max_retries=0, retry_delay_seconds=0, dead_letter_queue=None)

    assert is_last_delivery(1, policy)
    assert not is_last_delivery(1, POLICY)
