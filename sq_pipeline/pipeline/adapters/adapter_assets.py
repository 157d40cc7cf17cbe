"""The kinds of assets of an adapter, in the order of their making: a new one is a file of its own, and a line here."""

from collections.abc import Mapping

from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters import (
    chosen_checkpoint,
    mflux_adapter,
    mlx_adapter,
    promoted_adapter,
    training_dataset,
    verification,
)
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset

_ALL = (
    training_dataset.ASSET,
    mlx_adapter.ASSET,
    chosen_checkpoint.ASSET,
    mflux_adapter.ASSET,
    verification.ASSET,
    promoted_adapter.ASSET,
)

ADAPTER_ASSETS: Mapping[str, AdapterAsset] = {asset.name: asset for asset in _ALL}


def assets_of(adapter: Adapter) -> list[AdapterAsset]:
    """The kinds that this adapter has; an external file needs no dataset and no training."""
    return [asset for asset in _ALL if adapter.dataset is not None or not asset.is_for_trained]
