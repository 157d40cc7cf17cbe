"""Gradient checkpointing: a block is computed a second time in the backward pass (Chen et al. 2016, arXiv:1604.06174).

Here: one block. Not here: which network does it (`network.Flux.recomputes_blocks`).
"""

from typing import Any

import mlx.core as mx
from mlx import nn


def call_recomputed(block: nn.Module, *arguments: Any) -> Any:
    """`block(*arguments)`, of which only the arguments are kept for a gradient. Arguments are arrays or tuples of them.

    What the block trains goes in as an argument too: `mx.checkpoint` gives no gradient to what a function closes over.
    """

    def compute(trained: Any, *inputs: Any) -> Any:
        kept = block.trainable_parameters()
        block.update(trained)
        outputs = block(*inputs)
        # the backward pass comes here again with stand-ins of its own, which must not stay in the block
        block.update(kept)
        return outputs

    return mx.checkpoint(compute)(block.trainable_parameters(), *arguments)
