"""Which pictures of a dataset are held out: never trained on, so that their loss can be compared. One rule for all."""


def held_out_indices(pairs: int, wanted: int) -> tuple[int, ...]:
    """The indices, in order, of at most `wanted` of `pairs` pictures, at most a tenth, at even distances."""
    count = min(wanted, pairs // 10)
    return tuple((2 * number + 1) * pairs // (2 * count) for number in range(count))
