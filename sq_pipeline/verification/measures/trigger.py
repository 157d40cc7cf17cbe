"""How much of what an adapter does to colours does it do without its trigger, or beside others? Not here: limits."""

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
    units = (*base, *base_with_control)
    gone = colours_gone(base, styled, units_from=units)
    return share_of(colours_gone(base_with_control, styled_with_control, units_from=units), gone)


def colours_gone(without: Sequence[Pixels], with_adapter: Sequence[Pixels], *, units_from: Sequence[Pixels]) -> Floats:
    """`(33,)`: what an adapter does to colours, the mean of the pairs, in units of how they vary in `units_from`."""
    units = np.stack([_colours(picture) for picture in units_from]).std(axis=0) + 0.5
    pairs = zip(with_adapter, without, strict=True)
    return np.mean([(_colours(mine) - _colours(base)) / units for mine, base in pairs], axis=0)


def share_of(way: Floats, whole: Floats) -> float:
    """How far one way goes along another: 1 for the same, 0 for none, or one across."""
    return float(way @ whole / max(float(whole @ whole), 1e-12))


def _colours(picture: Pixels) -> Floats:
    return np.concatenate([measure(picture) for measure in (light_features, hue_features, border_features)])
