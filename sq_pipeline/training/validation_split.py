"""Which pictures of a dataset no trainer shows to the model, so that their loss can be compared.

One rule for every trainer: losses of adapters are only comparable over pictures that none of them was trained on.
Not here: measuring that loss (engines).
"""


def validation_indices(pairs: int, wanted: int) -> tuple[int, ...]:
    """Which of `pairs` pictures (in the order of training) are held out: `wanted` of them, at most a tenth.

    They are spread evenly over the order, each in the middle of its share, as sets of pictures are often in order.
    Rising, without repetition; empty for fewer than ten pairs.
    """
    count = min(wanted, pairs // 10)
    return tuple((2 * index + 1) * pairs // (2 * count) for index in range(count))
