"""The order of rendering: clients in turn, few swaps, few loads, nobody waits for ever."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.serve.queue import RenderKey, RenderQueue, order_by_stack


def key(stack: object, base_model: str = "tiny-flux") -> RenderKey:
    return RenderKey(base_model, stack)


def drain(queue: RenderQueue[str]) -> list[str]:
    taken: list[str] = []
    while (item := queue.take()) is not None:
        taken.append(item)
    return taken


def test_two_hundred_pictures_over_four_stacks_need_four_swaps() -> None:
    rng = random.Random(3)
    asked = [(rng.choice("abcd"), number) for number in range(200)]
    ordered = order_by_stack(asked, lambda item: key(item[0]))
    stacks = [stack for stack, _ in ordered]
    assert sum(a != b for a, b in pairwise(["", *stacks])) == 4
    assert Counter(ordered) == Counter(asked)
    for stack in "abcd":
        numbers = [number for name, number in ordered if name == stack]
        assert numbers == sorted(numbers)


def test_models_change_once_each() -> None:
    asked = [(model, stack) for _ in range(20) for model in ("dev", "tiny-flux") for stack in "ab"]
    ordered = order_by_stack(asked, lambda item: key(item[1], item[0]))
    assert sum(a[0] != b[0] for a, b in pairwise(ordered)) == 1
    assert sum(a != b for a, b in pairwise(ordered)) == 3


def test_clients_take_turns() -> None:
    """A client with a hundred pictures does not hold up one with two, whatever the stacks."""
    queue = RenderQueue[str]()
    for number in range(100):
        queue.put("many", key("a"), f"many {number}")
    for number in range(2):
        queue.put("few", key("b"), f"few {number}")
    assert drain(queue)[:5] == ["many 0", "few 0", "many 1", "few 1", "many 2"]


def test_another_base_model_waits_for_a_bounded_number_of_pictures() -> None:
    queue = RenderQueue[str](passed_max=3)
    for number in range(20):
        queue.put("dev", key("a", "dev"), f"dev {number}")
    assert queue.take() == "dev 0"
    queue.put("tiny", key("a"), "tiny 0")
    assert [queue.take() for _ in range(6)] == ["dev 1", "dev 2", "dev 3", "dev 4", "tiny 0", "dev 5"]


def test_removed_pictures_are_gone() -> None:
    queue = RenderQueue[str]()
    for client in "ab":
        for number in range(3):
            queue.put(client, key(number % 2), f"{client}{number}")
    assert queue.remove(lambda item: item in ("a1", "b0", "b1", "b2")) == ["a1", "b0", "b1", "b2"]
    assert len(queue) == 2
    assert drain(queue) == ["a0", "a2"]
    assert queue.take() is None


@pytest.mark.parametrize("count", [1, 5])
def test_an_endless_stream_of_one_stack_starves_nobody(count: int) -> None:
    """Each picture is followed by a younger one of the stack that is on; the other is passed by so many and no more."""
    queue = RenderQueue[str](overtaken_max=count)
    queue.put("c", key("a"), "first")
    assert queue.take() == "first"
    queue.put("c", key("b"), "other")
    taken: list[str] = []
    while "other" not in taken:
        queue.put("c", key("a"), "younger")
        taken.append(queue.take() or "")
    assert taken == ["younger"] * count + ["other"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans(), st.integers(0, 2)), max_size=80))
def test_everything_comes_once_and_soon(steps: list[tuple[int, int, bool, int]]) -> None:
    """Whatever is put and taken in whatever order: all comes out once, passed by a bounded number of younger ones."""
    queue, overtaken_max, passed_max = RenderQueue[int](4, 2), 4, 2
    waiting: dict[int, int] = {}
    owner: dict[int, int] = {}
    passed_by = Counter[int]()

    def take() -> None:
        item = queue.take()
        if item is None:
            assert not waiting
            return
        assert item in waiting
        del waiting[item]
        for older in waiting:
            if older < item:
                passed_by[older] += 1

    for number, (client, stack, is_other_model, takes) in enumerate(steps):
        queue.put(client, key(stack, "dev" if is_other_model else "tiny-flux"), number)
        waiting[number], owner[number] = client, client
        for _ in range(takes):
            take()
    while waiting:
        take()
    assert queue.take() is None
    clients = len({client for client, *_ in steps})
    longest = max(Counter(owner.values()).values(), default=0)
    for item, count in passed_by.items():
        turns = overtaken_max + longest
        assert count <= turns * (clients + passed_max), item
