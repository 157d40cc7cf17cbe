"""Does a picture tell the truth? What it says of itself, held against pixels, store, content, files and engines.

What was changed in it is told apart from a world that has moved on since. Not here: what the file alone tells
(`core.picture_checks`), its adapters (`verify_adapters_of`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import eq
from pathlib import Path
from typing import Any

from sq_pipeline.core.base_models import BaseModel, resolve_base_model
from sq_pipeline.core.errors import SqPipelineError
from sq_pipeline.core.explain import explain_change
from sq_pipeline.core.fingerprints import hash_bytes
from sq_pipeline.core.picture_checks import Check, change, check_itself, compare, has_lied, summary
from sq_pipeline.core.protocols import RenderRequest
from sq_pipeline.core.provenance import Provenance, read_provenance
from sq_pipeline.core.tiers import find_tier
from sq_pipeline.stages.picture_provenance import SAMPLER, is_same_norm, token_counts
from sq_pipeline.stages.rendering import render
from sq_pipeline.stages.verify_adapters_of import adapter_uses, check_adapters
from sq_pipeline.stages.workshop import Workshop
from sq_pipeline.stages.world_line import survey_world
from sq_pipeline.storage.png_file import PngFile, read_png
from sq_pipeline.storage.store import Record

# a forged number must not keep a machine busy for days
_MOST_STEPS, _MOST_PIXELS = 200, 4 << 20
# what a record of the same inputs may say differently, made at another time or place: names, not findings
_NAMES = {"genre", "world", "poi", "slug", "base_seed", "chip"}
_ADAPTER_NAMES = {"name", "file", "file_sha256"}


@dataclass(frozen=True)
class ImageReport:
    """What was found out about one file."""

    file: str
    sha256: str
    provenance: Provenance
    checks: tuple[Check, ...]

    @property
    def has_lied(self) -> bool:
        """True when something differs that should agree."""
        return has_lied(self.checks)

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        return summary(self.checks)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        said = self.provenance
        return {
            "genre": said.genre,
            "world": said.world,
            "poi": said.slug,
            "tier": said.tier,
            "path": self.file,
            "sha256": self.sha256,
            "fingerprint": said.fingerprint,
            "has_lied": self.has_lied,
            "has_moved_on": any(check.outcome == "moved on" for check in self.checks),
            "summary": self.summary,
            "checks": [asdict(check) for check in self.checks],
            "provenance": said.model_dump(mode="json"),
        }


def verify_image(workshop: Workshop, path: Path, *, is_rendered_again: bool = False) -> ImageReport:
    """Check everything that can be checked; raises PictureError for a file that cannot be read or says nothing."""
    png = read_png(path, "sq.")
    said, inputs = read_provenance(png.texts, str(path))
    record = workshop.store.read_record("picture", said.fingerprint)
    checks = [
        _check_pixels(said, png),
        *check_itself(said, inputs, png.texts),
        *_check_engines(workshop, said),
        *_check_store(said, record, png),
        *check_adapters(workshop, said),
        _check_today(workshop, said, inputs),
    ]
    if is_rendered_again:
        checks.append(_render_again(workshop, said, png))
    return ImageReport(str(path), hash_bytes(png.content), said, tuple(checks))


def _check_pixels(said: Provenance, png: PngFile) -> Check:
    size = [png.width_px, png.height_px]
    if size != [said.width_px, said.height_px]:
        return Check("pixels", "differs", f"size {change([said.width_px, said.height_px], size)}")
    if png.pixels is None:
        return Check(
            "pixels", "differs", f"they were 8-bit RGB, and are {png.mode} or deeper: saved by another program"
        )
    return compare("pixels", said.pixels, hash_bytes(png.pixels.tobytes()), "not one was changed since it was rendered")


def _check_engines(workshop: Workshop, said: Provenance) -> Iterator[Check]:
    """Base model, tokens, sampler, versions and chip."""
    try:
        base_model = resolve_base_model(said.base_model)
        weights = workshop.weights_hash(base_model)
        counts = token_counts(workshop.token_counter(base_model).count_tokens(said.positive_prompt))
    except SqPipelineError as error:
        reason = "; ".join(map(str, error.faults))
        yield Check("base model", "cannot be told", reason)
        yield Check("tokens", "cannot be told", f"they are counted by {said.base_model}'s own tokenizers")
    else:
        yield compare("base model", said.base_weights, weights, f"{said.base_model}, the same files", "moved on")
        found = [count.model_dump() for count in counts]
        told = ", ".join(f"{count.encoder} {count.tokens} of {count.budget}" for count in counts)
        dropped = f"; left out to fit: {', '.join(said.dropped)}" if said.dropped else ""
        check = compare("tokens", [count.model_dump() for count in said.tokens], found, told + dropped)
        if check.outcome == "differs" and weights != said.base_weights:
            check = Check("tokens", "cannot be told", "the base model's files are others now, its tokenizers too maybe")
        yield check
        is_same_engine = dict(workshop.engines.renderer_versions) == said.engine
        names, found = [said.sampler, said.scheduler], [SAMPLER, base_model.scheduler]
        yield compare("sampler", names, found, ", ".join(names), "differs" if is_same_engine else "moved on")
    now = dict(workshop.engines.renderer_versions)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(now.items()))
    yield compare("versions", said.engine, now, versions, "moved on")
    yield compare("chip", said.chip, workshop.engines.chip, said.chip, "moved on")


def _check_store(said: Provenance, record: Record | None, png: PngFile) -> Iterator[Check]:
    """The store's record of the same inputs, if there is one."""
    if record is None:
        yield Check("store", "cannot be told", "it has no picture of these inputs; it was made elsewhere, or is gone")
        return
    kept = record.info.get("provenance")
    if kept is None:
        yield Check("store", "cannot be told", "its record is of an older version, which did not say what made it")
        return
    if record.data_version != said.pixels:
        # noise differs between some chips: two true pictures of one fingerprint
        outcome = "moved on" if kept["chip"] != said.chip else "differs"
        yield compare("store", said.pixels, record.data_version, "", outcome)
        return
    findings, names = _differences(said.model_dump(mode="json"), kept)
    if findings:
        yield Check("store", "differs", "; ".join(findings))
    elif names:
        yield Check("store", "moved on", "; ".join(names))
    else:
        whole = "the very file" if record.objects["picture"].sha256 == hash_bytes(png.content) else "the same picture"
        yield Check("store", "agrees", f"it has {whole}, rendered {record.info.get('rendered_by', 'somewhere')}")


def _differences(said: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What two provenances say differently, as lines: findings, and mere names."""
    findings, names = list[str](), list[str]()
    for key in sorted(said.keys() | kept.keys()):
        if key == "adapters" and len(said[key]) == len(kept.get(key, ())):
            for mine, theirs in zip(said[key], kept[key], strict=True):
                for field in sorted(mine.keys() | theirs.keys()):
                    is_same = is_same_norm if field == "update_norm" else eq
                    if not is_same(mine.get(field), theirs.get(field)):
                        line = f"{mine['name']}.{field}: {change(mine.get(field), theirs.get(field))}"
                        (names if field in _ADAPTER_NAMES else findings).append(line)
        elif said.get(key) != kept.get(key):
            line = f"{key}: {change(said.get(key), kept.get(key))}"
            (names if key in _NAMES else findings).append(line)
    return findings, names


def _check_today(workshop: Workshop, said: Provenance, inputs: Mapping[str, Any]) -> Check:
    """What would be made of the place now."""
    name, key = "what would be made now", f"{said.genre}/{said.world}"
    world = workshop.catalog.worlds.get(key)
    if world is None:
        faults = workshop.catalog.faults.get(key) or workshop.catalog.faults.get(said.genre)
        if faults:
            return Check(name, "cannot be told", "; ".join(map(str, faults)))
        return Check(name, "moved on", f"there is no world {key} here")
    tier = find_tier(said.tier)
    if tier is None:
        return Check(name, "cannot be told", f"no pictures are made of the tier {said.tier}")
    step = survey_world(workshop, world, tier).pictures.get(said.slug)
    if step is None:
        return Check(name, "moved on", f"{key} shows no {tier} {said.slug}")
    if not step.inputs:
        return Check(name, "cannot be told", "; ".join(step.reasons) or "something before it is to be made first")
    changes = explain_change(inputs, step.inputs)
    return Check(name, "moved on" if changes else "agrees", "; ".join(changes) or "this very picture")


def _render_again(workshop: Workshop, said: Provenance, png: PngFile) -> Check:
    name = "rendered again"
    try:
        base_model = resolve_base_model(said.base_model)
        if why := _why_not_again(workshop, said, base_model):
            return Check(name, "cannot be told", why)
        uses = adapter_uses(workshop, said)
        if isinstance(uses, str):
            return Check(name, "cannot be told", uses)
        request = RenderRequest(
            base_model=base_model.name,
            positive_prompt=said.positive_prompt,
            negative_prompt=said.negative_prompt or None,
            seed=said.seed,
            num_inference_steps=said.num_inference_steps,
            width_px=said.width_px,
            height_px=said.height_px,
            guidance=said.guidance,
            adapters=uses,
        )
        files = [adapter.file for adapter in said.adapters]
        image = render(workshop.engines.renderer(), request, said.tier, files)
    except SqPipelineError as error:
        return Check(name, "cannot be told", "; ".join(map(str, error.faults)))
    # with other versions, or on another chip, other pixels prove nothing
    is_same_machine = (dict(workshop.engines.renderer_versions), workshop.engines.chip) == (said.engine, said.chip)
    found = png.pixels if png.pixels is not None and png.pixels.shape == image.pixels.shape else None
    share = "all" if found is None else f"{(found != image.pixels).any(axis=-1).mean():.2%}"
    if found is not None and (found == image.pixels).all():
        return Check(name, "agrees", "every pixel")
    if is_same_machine:
        return Check(name, "differs", f"{share} of the pixels come out otherwise")
    return Check(name, "moved on", f"{share} of the pixels come out otherwise, with other versions or on another chip")


def _why_not_again(workshop: Workshop, said: Provenance, base_model: BaseModel) -> str:
    if workshop.weights_hash(base_model) != said.base_weights:
        return f"{base_model.name}'s files are others now"
    if said.num_inference_steps > _MOST_STEPS or said.width_px * said.height_px > _MOST_PIXELS:
        return f"{said.num_inference_steps} steps at {said.width_px} × {said.height_px} are not rendered for a check"
    return ""
