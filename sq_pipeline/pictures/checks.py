"""What a picture says of itself, held against itself: needs nothing but the file. And what a check is.

Not here: holding it against the store, the content and the engines (`pipeline.verify_image.image`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sq_pipeline.common.fingerprints import canonical_json, fingerprint, short
from sq_pipeline.content.prompts import seed_for
from sq_pipeline.pictures.provenance import CHUNKS, Provenance, RenderProvenance

Outcome = Literal["agrees", "differs", "moved on", "cannot be told"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    `differs`: what the picture says is not so, it was changed or is forged. `moved on`: it was so, and is no longer
    what would be made now. `cannot be told` says why.
    """

    name: str
    outcome: Outcome
    detail: str


def has_lied(checks: Iterable[Check]) -> bool:
    """True when anything differs that a true picture has."""
    return any(check.outcome == "differs" for check in checks)


def summary(checks: Iterable[Check]) -> str:
    """The verdict in one line."""
    checks = list(checks)
    if differing := [check.name for check in checks if check.outcome == "differs"]:
        return f"this picture does not tell the truth: {', '.join(differing)}"
    untold = sum(check.outcome == "cannot be told" for check in checks)
    text = "nothing contradicts what this picture says"
    if any(check.outcome == "moved on" for check in checks):
        text += "; another one would be made now"
    return f"{text} ({untold} of {len(checks)} checks could not be made)" if untold else text


def compare(name: str, said: Any, found: Any, agrees: str, outcome: Outcome = "differs") -> Check:
    """Agrees where both are equal as values; else `outcome`, with said → found (hashes are cut short)."""
    if _text(said) == _text(found):
        return Check(name, "agrees", agrees)
    return Check(name, outcome, change(said, found))


def change(said: Any, found: Any) -> str:
    """`said → found`, for people."""
    return f"{_shown(said)} → {_shown(found)}"


def _text(value: Any) -> str:
    return canonical_json(value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return short(value) if value.startswith("sha256:") else value
    return canonical_json(value)


def check_itself(said: Provenance, inputs: Mapping[str, Any], texts: Mapping[str, str]) -> Iterator[Check]:
    """Fingerprint, the fields against each other, seed, and what the counts of its adapters say."""
    yield compare(
        "fingerprint", said.fingerprint, fingerprint(inputs), "it is that of the inputs beside it, recomputed"
    )
    settled = said.settled_inputs()
    wrong = [
        f"{name}: {change(inputs.get(name), settled.get(name))}"
        for name in sorted(settled.keys() | {key for key in inputs if key.startswith("renderer.")})
        if name not in inputs or name not in settled or _text(inputs[name]) != _text(settled[name])
    ]
    chunks = said.as_chunks(dict(inputs))
    wrong += [f"{name}: says something else" for name in CHUNKS if texts.get(name) != chunks[name]]
    detail = "; ".join(wrong) or "what it says twice, it says alike"
    yield Check("metadata", "differs" if wrong else "agrees", detail)
    seed = seed_for(said.genre, said.world, said.poi, said.tier, said.base_seed, said.own_seed or "")
    own = f", with `seed: {said.own_seed}` of its entry" if said.own_seed else ""
    detail = f"{seed}, from {said.genre}:{said.world}:{said.poi}:{said.tier} and {said.base_seed}{own}"
    yield compare("seed", said.seed, seed, detail)
    yield check_applied(said)


def check_applied(said: RenderProvenance) -> Check:
    """What the counts of its adapters say."""
    name = "adapters applied"
    lame = [
        f"{adapter.name}: {adapter.keys_matched} of {adapter.keys_total} keys, "
        f"{adapter.layers_patched} of {adapter.layers_expected} layers"
        for adapter in said.adapters
        if not adapter.is_whole
    ]
    if lame:
        return Check(name, "differs", f"{'; '.join(lame)}: no picture is made of such a stack")
    if lossy := [adapter.name for adapter in said.adapters if adapter.share_kept != 1]:
        return Check(name, "differs", f"{', '.join(lossy)}: an unbaked adapter keeps all of its update")
    whole = "; ".join(
        f"{adapter.name} at {adapter.lora_scale:g}: all {adapter.keys_total} keys, {adapter.layers_patched} layers"
        for adapter in said.adapters
    )
    return Check(name, "agrees", whole or "none were asked for")
