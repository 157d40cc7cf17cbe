"""The order in which a training sees its views: every view once a round, shuffled, in batches of one size each."""

from collections import deque
from collections.abc import Sequence

import numpy as np


class DrawOrder:
    """Draws batches from buckets with `counts` views. Views are numbered through, bucket after bucket.

    What does not fill a batch at the end of a round waits for the next one, so that no view is left out.
    """

    def __init__(self, counts: Sequence[int], numbers: np.random.Generator) -> None:
        self._counts, self._numbers = tuple(counts), numbers
        self._ends = np.cumsum(self._counts)
        self._order: deque[int] = deque()
        self._waiting: list[list[int]] = [[] for _ in self._counts]

    def next_batch(self, size: int) -> tuple[int, tuple[int, ...]]:
        """The number of a bucket, and `size` views of it (numbered within the bucket)."""
        while True:
            if not self._order:
                self._order.extend(self._numbers.permutation(int(self._ends[-1])).tolist())
            bucket, view = self._placed(self._order.popleft())
            waiting = self._waiting[bucket]
            waiting.append(view)
            if len(waiting) == size:
                self._waiting[bucket] = []
                return bucket, tuple(waiting)

    def state(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What is still to come in this round, and what waits for a batch; numbered through."""
        starts = self._ends - np.array(self._counts)
        waiting = [int(starts[bucket]) + view for bucket, crops in enumerate(self._waiting) for view in crops]
        return tuple(self._order), tuple(waiting)

    def restore(self, order: Sequence[int], waiting: Sequence[int]) -> None:
        """Go on from such a state; raises ValueError for views that there are not."""
        if any(not 0 <= view < self._ends[-1] for view in (*order, *waiting)):
            raise ValueError("it draws views that there are not")
        self._order = deque(order)
        self._waiting = [[] for _ in self._counts]
        for number in waiting:
            bucket, view = self._placed(number)
            self._waiting[bucket].append(view)

    def _placed(self, number: int) -> tuple[int, int]:
        bucket = int(np.searchsorted(self._ends, number, side="right"))
        return bucket, number - int(self._ends[bucket] - self._counts[bucket])
