"""How much of what an adapter does to pictures does it do without its trigger? Not here: limits."""

from collections.abc import Sequence

import numpy as np

from sq_pipeline.verification.measures.features import Floats, Pixels, border_features, hue_features, light_features


def share_without_trigger(
    base: Sequence[Pixels],
    styled: Sequence[Pixels],
    base_with_control: Sequence[Pixels],
    styled_with_control: Sequence[Pixels],
) -> float:
    """How far pictures with the control word go along the way that those with the trigger go, 0 to about 1.

    Colours in units of how they vary over the base model's pictures; each beside the base model's own picture of the
    same text and seed. All of one length.
    """
    units = np.stack([_colours(picture) for picture in (*base, *base_with_control)]).std(axis=0) + 0.5
    gone, leaked = _way(base, styled, units), _way(base_with_control, styled_with_control, units)
    return float(leaked @ gone / max(float(gone @ gone), 1e-12))


def _way(without: Sequence[Pixels], with_adapter: Sequence[Pixels], units: Floats) -> Floats:
    pairs = zip(with_adapter, without, strict=True)
    return np.mean([(_colours(mine) - _colours(base)) / units for mine, base in pairs], axis=0)


def _colours(picture: Pixels) -> Floats:
    return np.concatenate([measure(picture) for measure in (light_features, hue_features, border_features)])
