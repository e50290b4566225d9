"""What waits for a worker goes out language by language, each in its order, and none waits for ever."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.generate.waiting import Waiting


def waiting(*items):
    queue = Waiting(lambda item: item[:2])
    for item in items:
        queue.add(item)
    return queue


def test_a_language_goes_together_and_then_the_next_has_its_turn():
    queue = waiting("es1", "th1", "es2", "th2", "es3")
    assert queue.take(2) == ["es1", "es2"]
    assert queue.take(2) == ["th1", "th2"]
    assert queue.take(2) == ["es3"]
    assert queue.take(2) == []
    assert len(queue) == 0


def test_a_language_with_few_is_filled_up_with_the_next():
    assert waiting("es1", "th1", "th2", "es2").take(3) == ["es1", "es2", "th1"]


def test_a_language_that_never_ends_keeps_no_other_waiting():
    queue = waiting("es1", "es2", "es3", "th1")
    assert queue.take(2) == ["es1", "es2"]
    queue.add("es4")
    assert queue.take(2) == ["th1", "es3"]


def test_what_is_put_back_comes_first_in_its_order():
    queue = waiting("es1", "es2", "es3")
    queue.put_back(queue.take(2))
    assert queue.take(3) == ["es1", "es2", "es3"]


@given(st.lists(st.tuples(st.sampled_from(["es", "th", "ko"]), st.integers(1, 9))))
def test_every_item_comes_out_once_and_in_the_order_of_its_language(drawn):
    items = [f"{language}{number}" for number, (language, _) in enumerate(drawn)]
    queue = waiting(*items)
    taken = list(chain.from_iterable(queue.take(most) for _, most in drawn))
    assert len(taken) + len(queue) == len(items)
    taken += queue.take(len(queue))
    for language in ("es", "th", "ko"):
        own = [item for item in items if item.startswith(language)]
        assert [item for item in taken if item.startswith(language)] == own
