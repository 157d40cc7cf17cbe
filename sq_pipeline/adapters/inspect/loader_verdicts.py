"""Whether a loader applies an adapter file, as it is, as its trainer meant it; and if not, why, in a line.

Names are in `loader_names`; the sources are named there. Not here: what is wrong with a file for every loader.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sq_pipeline.adapters.dialects import is_of_text_encoder
from sq_pipeline.adapters.inspect.loader_names import diffusers_way, unread_names
from sq_pipeline.adapters.inspect.pairs import READABLE_FLOATS, Pair
from sq_pipeline.adapters.outside import is_outside, name_extra
from sq_pipeline.adapters.strength.scales import METADATA_KEY, TENSOR, Scale
from sq_pipeline.base_models.base_models import QWEN_MODELS
from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.hints import command

LOADERS = ("mflux >=0.19", "mflux <0.19", "diffusers", "ComfyUI", "sd-scripts")
_REAL_HIDDEN_SIZE = 3072  # of the published FLUX.1
# 0.19.0 has no reader of PEFT's metadata, 0.24.0 has one; versions between were not read
_READS_PEFT_METADATA = (0, 24)
# huggingface/diffusers#14409, in 0.42.1: alphas follow the ranks where the file names none
_ALPHA_FOLLOWS_RANK = (0, 42)


Answer = Literal["yes", "part", "no", "not known"]


@dataclass(frozen=True)
class Verdict:
    """`yes`: every update is applied, at the right scale; `part`: those of the blocks are; `not known`: nobody looked.

    `reason`: why not, or what to mind.
    """

    loader: str
    answer: Answer
    reason: str

    @property
    def is_right(self) -> bool:
        """True for a plain yes."""
        return self.answer == "yes"

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain values."""
        return {"loader": self.loader, "is_right": self.is_right, "answer": self.answer, "reason": self.reason}


@dataclass(frozen=True)
class LoaderAnswer:
    """What the installed mflux's loader did with a file, for one of its families at the widths of `model`.

    `model` is mflux's own name. `matched` of the file's `total` names are in its mapping, `unread` are the others: it
    leaves them out, and says so on its standard output alone. `layers` were changed. `problem`: why the file is not
    applied, in its own words.
    """

    version: str
    family: str
    model: str
    matched: int
    total: int
    unread: tuple[str, ...]
    layers: int
    problem: str


@dataclass(frozen=True)
class LoaderFacts:
    """What a verdict stands on: the file's names, its whole pairs with their scales, and the hidden size they fit.

    `broken`: why no loader can apply it, empty when nothing is in the way. `method`: what it is other than a LoRA.
    `model`: the base model of another family that it is for; `suffix`: how the file's name ends. `answer`: what the
    installed mflux did with it, where it was asked.
    """

    names: Collection[str]
    pairs: Sequence[tuple[Pair, Scale]]
    metadata: Mapping[str, str]
    hidden_size: int | None
    broken: str
    method: str = ""
    dtypes: Collection[str] = ()
    model: str = ""
    suffix: str = ".safetensors"
    answer: LoaderAnswer | None = None


def loader_verdicts(facts: LoaderFacts) -> tuple[Verdict, ...]:
    """A verdict for each of LOADERS."""
    return tuple(_judge(loader, (), facts) for loader in LOADERS)


def judge_loader(wanted: str, facts: LoaderFacts) -> Verdict:
    """The verdict for a loader by name and version, such as `mflux 0.18.1`; raises SelectionError for any other."""
    name, _, text = wanted.strip().partition(" ")
    number = re.match(r"(?:==)?(\d+(?:\.\d+)*)", text.strip())
    version = tuple(map(int, number[1].split("."))) if number else ()
    loaders = {loader.split()[0].lower(): loader.split()[0] for loader in LOADERS} | {"kohya": "sd-scripts"}
    loader = loaders.get(name.lower())
    if loader is None or (text.strip() and not version) or (loader == "mflux" and not version):
        hint = "use mflux with a version (mflux 0.18.1), diffusers, ComfyUI or sd-scripts"
        raise SelectionError(Fault("", "--loader", f"no loader {wanted!r} is known here", hint))
    if loader == "mflux":
        loader = "mflux >=0.19" if version >= (0, 19) else "mflux <0.19"
        if facts.model and facts.answer is not None and text.strip() != facts.answer.version:
            asked = f"for {facts.model} only the installed mflux {facts.answer.version} was asked"
            return Verdict(f"mflux {text.strip()}", "not known", asked)
    verdict = _judge(loader, version, facts)
    return Verdict(f"{loader.split()[0]} {text.strip()}".strip(), verdict.answer, verdict.reason)


def _judge(loader: str, version: tuple[int, ...], facts: LoaderFacts) -> Verdict:
    if facts.broken:
        return Verdict(loader, "no", facts.broken)
    if loader.startswith("mflux") and facts.suffix != ".safetensors":
        return Verdict(loader, "no", f"MLX reads no file that ends in {facts.suffix}; rename it to .safetensors")
    if facts.model:
        return _judge_family(loader, facts)
    if dtypes := _UNREADABLE.keys() & {*facts.dtypes} if loader.startswith("mflux") else set[str]():
        return Verdict(loader, "no", _UNREADABLE[min(dtypes)])
    if any(dtype.startswith("F8") for dtype in facts.dtypes):
        return Verdict(loader, "not known", "nobody looked what it makes of numbers of eight bits")
    if facts.method:
        return _judge_method(loader, facts)
    if loader == "mflux >=0.19" and facts.answer is not None and facts.answer.problem and facts.hidden_size is None:
        return Verdict(loader, "no", f"as {facts.answer.family}: {facts.answer.problem}")
    unread = unread_names(loader, facts.names)
    beside = [name for name in unread if is_of_text_encoder(name) or is_outside(name) or name_extra(name)]
    if len(unread) > len(beside) or len(beside) == len(facts.names):  # a part that is nothing is none
        return Verdict(loader, "no", _unread(unread, len(facts.names)))
    if facts.hidden_size not in (None, _REAL_HIDDEN_SIZE) and not loader.startswith("mflux"):
        reason = f"it knows FLUX.1 at hidden size {_REAL_HIDDEN_SIZE} only, not {facts.hidden_size}"
        return Verdict(loader, "no", reason)
    for check in _CHECKS[loader]:
        for reason in check(facts, version):
            return Verdict(loader, "no", reason)
    if beside:
        return Verdict(
            loader, "part", f"{_unread(beside, len(facts.names))}; a remap leaves them out where it is told to"
        )
    return Verdict(loader, "yes", _note(loader, version, facts))


def _judge_family(loader: str, facts: LoaderFacts) -> Verdict:
    model, answer = facts.model, facts.answer
    if loader != "mflux >=0.19":
        return Verdict(loader, "not known", f"nobody looked what it makes of {model}")
    if answer is not None and answer.unread:
        return Verdict(loader, "no", f"as {model}: {_unread(answer.unread, answer.total)}; it leaves these out")
    applied = "" if answer is None else f": mflux {answer.version} changes {answer.layers} layers"
    way = ""
    if answer is None or model in QWEN_MODELS:
        way = f"; {command('adapter fidelity', 'FILE', '--base-model', model)} measures it"
    return Verdict(loader, "yes", f"as {model}{applied}{way}")


# measured with MLX 0.32: it refuses F64, and takes E4M3's bytes for whole numbers
_UNREADABLE = {
    "F64": "MLX does not read F64; convert it to F32",
    "F8_E4M3": "MLX takes F8_E4M3 for whole numbers; convert it to BF16",
    "F8_E5M2": "MLX does not read F8_E5M2; convert it to BF16",
}
_MODULE = re.compile(
    r"\.(?:lora_|lokr_|hada_|dora_scale|alpha|diff|oft_|on_input)[^.]*(?:\.[^.]+)*$"
)  # of a tensor's name
# method and loader: the answer, its reason, and the names that it needs; read in the sources that `loader_names` lists
_METHODS: Mapping[tuple[str, str], tuple[Answer, str, str]] = {
    ("DoRA", "mflux >=0.19"): ("no", "it applies no DoRA: it refuses one, or leaves its sizes out", ""),
    ("DoRA", "mflux <0.19"): ("no", "it applies no DoRA", ""),
    ("DoRA", "diffusers"): ("no", "it leaves dora_scale out, with a warning", ""),
    ("DoRA", "ComfyUI"): ("yes", "it reads DoRA", "ComfyUI"),
    ("LoHa", "mflux >=0.19"): ("no", "it has no names for LoHa", ""),
    ("LoHa", "mflux <0.19"): ("no", "it has no names for LoHa", ""),
    ("LoHa", "ComfyUI"): ("yes", "it reads LoHa; its shapes were not looked at", "ComfyUI"),
    ("LoKr", "mflux >=0.19"): ("yes", "mflux 0.24 reads LoKr; before it nobody looked", "mflux LoKr"),
    ("LoKr", "ComfyUI"): ("yes", "it reads LoKr; its shapes were not looked at", "ComfyUI"),
}


def _judge_method(loader: str, facts: LoaderFacts) -> Verdict:
    unknown: tuple[Answer, str, str] = ("not known", f"nobody looked what it makes of a {facts.method}", "")
    answer, reason, pattern = _METHODS.get((facts.method, loader), unknown)
    if facts.pairs and facts.method != "DoRA" and answer == "yes":
        return Verdict(loader, "not known", f"nobody looked what it makes of a {facts.method} with a LoRA in it")
    if pattern and (unread := unread_names(pattern, facts.names)):
        return Verdict(loader, "no", _unread(unread, len(facts.names)))
    modules = len({_MODULE.sub("", name) for name in facts.names})
    return Verdict(loader, answer, f"{reason} ({modules} of {modules} modules)" if answer == "yes" else reason)


def _unread(unread: Sequence[str], count: int) -> str:
    if len(unread) == count:
        return f"it knows none of the names, such as {unread[0]}"
    return f"it does not know {len(unread)} of {count} names, such as {unread[0]}"


def _cut_downs(facts: LoaderFacts, _version: tuple[int, ...]) -> Iterator[str]:
    cut = [pair for pair, _ in facts.pairs if pair.tiles == 1 and pair.cut > 1 and pair.rank % pair.cut == 0]
    if cut:
        kinds = ", ".join(sorted({f"{pair.kind} in {pair.cut}" for pair in cut}))
        yield f"it cuts the fused down matrix along the rank ({kinds}): {len(cut)} modules are wrong or an error"


def _tiled_downs(facts: LoaderFacts, _version: tuple[int, ...]) -> Iterator[str]:
    if tiled := [pair for pair, _ in facts.pairs if pair.tiles > 1]:
        yield f"{len(tiled)} down matrices are tiled: their rows do not fit the rank of up, a shape error"


def _mflux_metadata(facts: LoaderFacts, version: tuple[int, ...]) -> Iterator[str]:
    if version >= _READS_PEFT_METADATA or not version:
        # mflux reads it for names that end in `.lora_A.weight` alone
        scaled = (pair for pair, _ in _scaled_by_metadata(facts))
        if lost := [pair for pair in scaled if pair.down and not pair.down.name.endswith(".weight")]:
            yield f"it does not read the alpha in the metadata for names without .weight, such as {lost[0].name}"
    else:
        yield from _no_metadata(facts, version)


def _no_metadata(facts: LoaderFacts, _version: tuple[int, ...]) -> Iterator[str]:
    for pair, scale in _scaled_by_metadata(facts):
        yield f"it does not read the alpha in the metadata: scale 1 in place of {scale.value:g}, in {pair.name} first"


def _other_places(facts: LoaderFacts, _version: tuple[int, ...]) -> Iterator[str]:
    """Strengths that loaders cannot know of: they read alphas alone, and take alpha over the whole rank."""
    for pair, scale in facts.pairs:
        if scale.source == "metadata" or math.isclose(scale.loaded, scale.value, rel_tol=1e-9):
            continue
        what = "takes a part's alpha for the whole" if scale.source == TENSOR else f"does not read {scale.source}"
        yield f"it {what}: scale {scale.loaded:.4g} in place of {scale.value:.4g}, in {pair.name} first"


def _scaled_by_metadata(facts: LoaderFacts) -> list[tuple[Pair, Scale]]:
    return [(pair, scale) for pair, scale in facts.pairs if scale.source == "metadata" and scale.value != 1]


def _diffusers(facts: LoaderFacts, version: tuple[int, ...]) -> Iterator[str]:
    way = diffusers_way(facts.names)
    alphas = [pair for pair, scale in facts.pairs if scale.source == "tensor"]
    if way == "peft":
        whole = [pair.alpha.name for pair, _ in facts.pairs if pair.alpha and pair.alpha.dtype not in READABLE_FLOATS]
        if whole:
            yield f"it refuses an alpha of whole numbers, such as {whole[0]}"
        elif alphas and METADATA_KEY in facts.metadata:
            yield "it refuses alphas both in tensors and in the metadata"
        elif alphas and len(alphas) < len(facts.pairs):
            yield f"{len(facts.pairs) - len(alphas)} modules have no alpha: it gives them the alpha of the others"
    if way in ("kohya", "onetrainer") and (turned := [pair for pair, scale in facts.pairs if scale.value < 0]):
        yield f"its converter does not end on a negative alpha, such as that of {turned[0].name}"
    if way == "kohya":
        for pair, scale in facts.pairs:
            if "final_layer" in pair.name and scale.value != 1:
                yield f"it leaves the alpha of {pair.name} out: scale 1 in place of {scale.value:g}"
    if way == "onetrainer":
        other = [pair for pair, _ in facts.pairs if "_attn_" not in pair.name and not is_outside(pair.name)]
        if other:
            yield f"of these names it reads the attention's alone, not {other[0].name}"
        elif len(alphas) < len(facts.pairs):
            yield "of these names it needs an alpha for every module"
    ranks = {pair.rank for pair, _ in facts.pairs}
    if version and version < _ALPHA_FOLLOWS_RANK and len(ranks) > 1 and way != "peft":
        yield "it takes one alpha for all ranks (huggingface/diffusers#14409)"
    elif (
        version
        and version < _ALPHA_FOLLOWS_RANK
        and len(ranks) > 1
        and not alphas
        and METADATA_KEY not in facts.metadata
    ):
        yield "ranks differ and no alpha is named: it takes one alpha for all (huggingface/diffusers#14409)"


def _needs_alpha(facts: LoaderFacts, _version: tuple[int, ...]) -> Iterator[str]:
    if missing := [pair.name for pair, scale in facts.pairs if scale.source != "tensor"]:
        yield f"it needs an alpha for every module, and {len(missing)} have none"
    for pair, scale in facts.pairs:
        if scale.alpha == 0:
            yield f"it takes an alpha of 0 as the rank, in {pair.name} first"


def _note(loader: str, version: tuple[int, ...], facts: LoaderFacts) -> str:
    if loader == "mflux >=0.19" and not version and _scaled_by_metadata(facts):
        return "from 0.24 on, which reads the alpha in the metadata; 0.19.0 does not"
    if facts.hidden_size not in (None, _REAL_HIDDEN_SIZE):
        return f"with this project's model of hidden size {facts.hidden_size}"
    ranks = {pair.rank for pair, _ in facts.pairs}
    has_alpha = any(scale.source for _, scale in facts.pairs)
    if loader == "diffusers" and not version and len(ranks) > 1 and not has_alpha:
        return "ranks differ: before huggingface/diffusers#14409 it took one alpha for all (0.42.1 is right)"
    if loader != "sd-scripts" and diffusers_way(facts.names) == "kohya" and not has_alpha and facts.pairs:
        return "it takes a missing alpha as scale 1"
    return ""


_CHECKS = {
    "mflux >=0.19": (_tiled_downs, _other_places, _mflux_metadata),
    "mflux <0.19": (_cut_downs, _other_places, _no_metadata),
    "diffusers": (_tiled_downs, _other_places, _diffusers),
    "ComfyUI": (_tiled_downs, _other_places, _no_metadata),
    "sd-scripts": (_tiled_downs, _other_places, _needs_alpha),
}
