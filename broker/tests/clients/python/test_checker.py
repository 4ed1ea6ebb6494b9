"""The judge sees every broken rule, and none in a good run."""

import pytest

from checker import Checker


@pytest.fixture
def checker():
    """One message was sent, acknowledged, received and acked."""
    checker = Checker()
    checker.opened()
    checker.written("0-1")
    checker.acknowledged("0-1")
    receive(checker, "0-1", "ID:1")
    checker.consumed("0-1", "ID:1")
    return checker


def receive(checker, id, message_id, redelivered=False, consumer=0, connection=1):
    checker.received(id, message_id, redelivered, "/queue/Q", consumer, connection)


def only(checker, text):
    violations = checker.violations()
    assert len(violations) == 1 and text in violations[0], violations


def test_a_good_run_breaks_no_rule(checker):
    checker.written("0-2")  # unknown
    checker.written("0-3")
    checker.acknowledged("0-3")
    checker.queued("0-3", "ID:3")
    # Delivered before its ACK was answered, on a connection of that time.
    receive(checker, "0-1", "ID:1", redelivered=True)
    assert checker.violations() == []


def test_an_empty_run_is_no_good_run():
    only(Checker(), "empty run")


def test_a_lost_message_is_seen(checker):
    checker.written("0-2")
    checker.acknowledged("0-2")
    only(checker, "neither received nor still queued")


def test_a_message_that_nobody_sent_is_seen(checker):
    receive(checker, "7-1", "ID:2")
    only(checker, "never sent")


def test_a_receipt_for_nothing_is_seen(checker):
    checker.acknowledged("7-1")
    assert any("never written" in text for text in checker.violations())


def test_a_message_enqueued_twice_is_seen(checker):
    receive(checker, "0-1", "ID:2", redelivered=True)
    only(checker, "written 1 times but enqueued as ID:1, ID:2")


def test_a_send_written_twice_may_be_enqueued_twice(checker):
    checker.written("0-1")
    receive(checker, "0-1", "ID:2")
    assert checker.violations() == []


def test_a_refused_send_may_not_be_enqueued(checker):
    checker.written("0-2")
    checker.refused("0-2")
    receive(checker, "0-2", "ID:2")
    only(checker, "enqueued as ID:2")


def test_a_second_delivery_without_the_flag_is_seen(checker):
    checker.written("0-2")
    receive(checker, "0-2", "ID:2")
    receive(checker, "0-2", "ID:2")
    only(checker, "without redelivered:true")


def test_a_late_first_delivery_is_seen_where_one_consumes(checker):
    for sequence in (2, 3):
        checker.written(f"0-{sequence}")
    for sequence in (3, 2):
        receive(checker, f"0-{sequence}", f"ID:{sequence}")
    only(checker, "0-2 came on /queue/Q after 0-3")


def test_competing_consumers_have_no_order(checker):
    for sequence in (2, 3):
        checker.written(f"0-{sequence}")
    for sequence in (3, 2):
        receive(checker, f"0-{sequence}", f"ID:{sequence}", consumer=sequence)
    assert checker.violations() == []


def test_an_acked_message_that_comes_back_is_seen(checker):
    later = checker.opened()
    receive(checker, "0-1", "ID:1", redelivered=True, connection=later)
    only(checker, "after its ACK was answered")
