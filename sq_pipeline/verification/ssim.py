"""Structural similarity: whether two pictures are the same, not whether they are good."""

from typing import Any

from sq_pipeline.verification.measures.features import Pixels


def ssim(first: Pixels, second: Pixels) -> float:
    """Structural similarity of two RGB pictures, 1 for equal ones (Wang et al. 2004, as scikit-image computes it)."""
    if first.shape != second.shape:
        raise ValueError(f"pictures of {first.shape} and {second.shape} cannot be compared")
    from skimage.metrics import structural_similarity  # with SciPy half a second, which `plan` does not need

    similarity: Any = structural_similarity(first, second, channel_axis=-1, data_range=255)
    return float(similarity)
