"""Gradient checkpointing: a block is computed a second time in the backward pass (Chen et al. 2016, arXiv:1604.06174).

`mx.checkpoint` lets the second computation begin as soon as the first is done, and leaves the gradients of what a block
trains for later, so that the scheduler holds much of many blocks at once. Here the second computation waits for the
gradient that it is needed for, and the next block's for the gradients of what this one trains.

Here: one block. Not here: which network does it (`network.Flux.recomputes_blocks`).
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten


def call_checkpointed(block: nn.Module, *arguments: Any) -> Any:
    """`block(*arguments)`, of which only the arguments are kept for a gradient. Arguments are arrays or tuples of them.

    What the block trains goes in as an argument too: no gradient flows to what a function closes over.
    """
    flat = tree_flatten([block.trainable_parameters(), *arguments])
    names = [name for name, _ in flat]
    trained_count = len(tree_flatten(block.trainable_parameters()))

    def compute(*arrays: mx.array) -> Any:
        trained, *inputs = tree_unflatten(list(zip(names, arrays, strict=True)))
        kept = block.trainable_parameters()
        block.update(trained)
        outputs = block(*inputs)
        # the backward pass comes here again with stand-ins of its own, which must not stay in the block
        block.update(kept)
        return outputs

    def pull_back(primals: Sequence[mx.array], cotangents: Any, _outputs: Any) -> tuple[mx.array, ...]:
        gradients = [cotangents] if isinstance(cotangents, mx.array) else list(cotangents)
        waiting = mx.depends(list(primals), gradients)
        pulled = mx.vjp(compute, waiting, gradients)[1]
        of_trained, of_inputs = pulled[:trained_count], pulled[trained_count:]
        # one by one, so that a gradient which nobody asks for is not computed
        return (*of_trained, *(mx.depends([array], of_trained)[0] for array in of_inputs))

    function = mx.custom_function(compute)
    function.vjp(pull_back)
    return function(*(array for _, array in flat))
