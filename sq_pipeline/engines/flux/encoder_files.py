"""FLUX.1's text encoders, VAE and tokenizers on disk, checked before anything is allocated: every fault at once.

Here: a model's folder → what is read from where. Not here: tensors' names (`encoder_tensors`), headers and their faults
(`weight_files`), the networks (`encoders`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mflux.models.common.tokenizer import TokenizerLoader
from mflux.models.flux.weights.flux_weight_definition import FluxWeightDefinition

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.engines.flux.encoder_tensors import PARTS, EncoderDims, EncoderPart
from sq_pipeline.engines.flux.weight_files import WeightFiles, read_headers, tensor_faults

# for each tokenizer of mflux's: its folder, and the sets of files of which one must be there
_TOKENIZER_FILES: Mapping[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "clip": ("tokenizer", (("tokenizer.json",), ("vocab.json", "merges.txt"))),
    "t5": ("tokenizer_2", (("tokenizer.json",),)),
}


@dataclass(frozen=True)
class EncoderFiles:
    """Checked parts, by their folder's name, and mflux's tokenizers (`t5`, `clip`). No network is in memory yet."""

    dims: EncoderDims
    weights: Mapping[str, WeightFiles]
    tokenizers: Mapping[str, Any]


def check_encoders(
    root: Path, base_model: BaseModel, dims: EncoderDims | None = None, *, how_to_get: str | None = None
) -> EncoderFiles:
    """Check `text_encoder/`, `text_encoder_2/`, `vae/`, `tokenizer/` and `tokenizer_2/` of the folder `root`.

    `how_to_get` None: the base model's. Raises one BaseModelError with every fault of all of them. Reads headers and
    tokenizers, but no tensor.
    """
    dims, how = dims or EncoderDims(), how_to_get or base_model.how_to_get
    faults: list[Fault] = []
    weights: dict[str, WeightFiles] = {}
    for part in PARTS:
        found = _read_part(root, part, how, faults)
        if found is not None:
            weights[part.part.folder] = found
            faults += [*found.faults, *tensor_faults(found, part.shapes(dims), part.what, how, unused=part.unused)]
    words = {"t5": dims.text_words, "clip": dims.pooled_words}
    tokenizers: dict[str, Any] = {}
    for name, (folder, choices) in _TOKENIZER_FILES.items():
        problem = _missing_files(root / folder, choices)
        if problem is None:
            opened = _open_tokenizer(name, root, base_model)
            problem = opened if isinstance(opened, str) else _vocabulary_problem(name, opened.tokenizer, words[name])
            tokenizers[name] = opened
        if problem is not None:
            faults.append(Fault(str(root / folder), "", problem, how))
    if faults:
        raise BaseModelError(faults)
    return EncoderFiles(dims, weights, tokenizers)


def _read_part(root: Path, part: EncoderPart, how: str, faults: list[Fault]) -> WeightFiles | None:
    folder = root / part.part.folder
    if not folder.is_dir():
        faults.append(Fault(str(folder), "", f"is not there: {part.what}", how))
        return None
    try:
        return read_headers(root, how, part.part)
    except BaseModelError as error:
        faults += error.faults
        return None


def _missing_files(folder: Path, choices: tuple[tuple[str, ...], ...]) -> str | None:
    if not folder.is_dir():
        return "is not there: a tokenizer"
    if any(all((folder / name).is_file() for name in names) for names in choices):
        return None
    return f"holds no {', and no '.join(' with '.join(names) for names in choices)}"


def _open_tokenizer(name: str, root: Path, base_model: BaseModel) -> Any:
    """mflux's tokenizer, which cuts and fills to the base model's budget, or what is wrong with its files.

    All of its files are there, so mflux finds them by the path and asks no hub.
    """
    definition = next(found for found in FluxWeightDefinition.get_tokenizers() if found.name == name)
    try:
        tokenizer = TokenizerLoader.load(definition, str(root.absolute()))
    except (OSError, RuntimeError, ValueError) as error:
        return f"is no tokenizer that mflux can load ({error.__cause__ or error})"
    tokenizer.max_length = base_model.t5_token_budget if name == "t5" else base_model.clip_token_budget
    return tokenizer


def _vocabulary_problem(name: str, tokenizer: Any, words: int) -> str | None:
    # MLX reads past the end of an embedding without a word
    last = max(tokenizer.get_vocab().values())
    if last >= words:
        return f"knows {last + 1} words, its encoder {words}"
    # CLIP's pooled text is the output at the highest number, which has to be the end mark
    if name == "clip" and tokenizer.eos_token_id != last:
        return f"ends texts with {tokenizer.eos_token!r}, which is not its last word: not CLIP's tokenizer"
    return None


def part_of_names(part: EncoderPart, files: EncoderFiles, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Each tensor that the part's network is made of, and its file; those that begin with `prefix`."""
    found = files.weights[part.part.folder].tensors
    for name in part.shapes(files.dims):
        if name.startswith(prefix):
            yield name, found[name][0]
