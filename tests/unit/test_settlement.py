import pytest

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
    is_last_delivery,
)

NOW = 1_000_000
POLICY = Policy(max_retries=2, retry_delay_seconds=5, dead_letter_queue="dead")
DROPPING = Policy(max_retries=2, retry_delay_seconds=5, dead_letter_queue=None)

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
    assert decide(attempts, 0, outcome, policy, NOW) == expected


def test_a_policy_of_no_retries_allows_one_delivery():
    policy = Policy(max_retries=0, retry_delay_seconds=0, dead_letter_queue=None)

    assert is_last_delivery(1, policy)
    assert not is_last_delivery(1, POLICY)
