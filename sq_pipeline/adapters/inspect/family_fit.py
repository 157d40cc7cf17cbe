"""Which base model of another family than FLUX.1 a file is for, by its names, widths and metadata.

FLUX.2 has FLUX.1's names in its blocks, and other widths. Not here: FLUX.1 itself (`flux_fit`).
"""

from collections import Counter
from collections.abc import Iterable

from sq_pipeline.adapters.base_named import other_base, other_family
from sq_pipeline.adapters.dialects import find_dialect
from sq_pipeline.adapters.inspect.pairs import Pair
from sq_pipeline.adapters.keymap_files import family_keymap
from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.base_models.base_models import QWEN_MODELS

# inputs and outputs in hidden sizes, where FLUX.2 differs from FLUX.1
_FLUX2 = {
    **{f"{side}_mlp.layers.0": (1, 6) for side in ("img", "txt")},
    **{f"{side}_mlp.layers.2": (3, 1) for side in ("img", "txt")},
    "linear1": (1, 9),
    "linear2": (4, 1),
}
_KLEIN = {3072: "flux2-klein-4b", 4096: "flux2-klein-9b"}


def other_model(file: SafetensorsFile, pairs: Iterable[Pair]) -> str:
    """The base model, as this project calls it; empty for FLUX.1, and where nothing tells."""
    names = [name for name in file.tensors if not name.endswith(".alpha")]
    said = other_family(file) if other_base(file) else ""
    for family in ("z-image", "flux2"):
        keymap = family_keymap(family)
        if not names or not all(keymap.rename(name) for name in names):
            continue
        if said in QWEN_MODELS and QWEN_MODELS[said].family == family:
            return said
        if family == "z-image":
            return "z-image"
        sizes = Counter(_klein_sizes(pairs))
        if sizes and (find_dialect(names, {}) is None or None not in sizes):
            size = next((size for size, _ in sizes.most_common() if size), None)
            return _KLEIN.get(size or 0, "")
    return ""


def _klein_sizes(pairs: Iterable[Pair]) -> Iterable[int | None]:
    """The hidden size by each module that tells FLUX.2 from FLUX.1; None where it is not FLUX.2's width."""
    for pair in pairs:
        if (widths := _FLUX2.get(pair.kind)) and pair.shapes is not None and not pair.part:
            inputs, outputs = pair.shapes[1] / widths[0], pair.shapes[2] / widths[1]
            yield int(inputs) if inputs == outputs else None
