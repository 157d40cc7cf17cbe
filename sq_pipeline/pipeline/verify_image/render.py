"""What a picture of either kind says, looked at again: its pixels, base model, tokens, sampler, versions and chip.

Not here: what only one kind has (`image`, `request_image`), adapters' files (`adapters`).
"""

from collections.abc import Iterator
from dataclasses import replace

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BaseModel, resolve_base_model
from sq_pipeline.base_models.picture_limits import AREA_MAX_PX, STEPS_MAX
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.pictures.applied import SAMPLER, token_counts
from sq_pipeline.pictures.checks import Check, change, compare
from sq_pipeline.pictures.png_file import PngFile
from sq_pipeline.pictures.ports import RenderedImage, RenderRequest
from sq_pipeline.pictures.provenance import AdoptedProvenance, RenderProvenance
from sq_pipeline.pictures.request_provenance import count_request
from sq_pipeline.pipeline.context import Context


def check_pixels(said: RenderProvenance | AdoptedProvenance, png: PngFile) -> Check:
    """Their size and hash."""
    done = "adopted" if isinstance(said, AdoptedProvenance) else "rendered"
    size = [png.width_px, png.height_px]
    if size != [said.width_px, said.height_px]:
        return Check("pixels", "differs", f"size {change([said.width_px, said.height_px], size)}")
    if png.pixels is None:
        return Check(
            "pixels", "differs", f"they were 8-bit RGB, and are {png.mode} or deeper: saved by another program"
        )
    return compare("pixels", said.pixels, hash_bytes(png.pixels.tobytes()), f"not one was changed since it was {done}")


def check_engines(
    context: Context, said: RenderProvenance, clip_prompt: str | None = None, left_out: tuple[str, ...] = ()
) -> Iterator[Check]:
    """Base model, tokens, sampler, versions and chip. `clip_prompt`: what CLIP read in place of the prompt."""
    try:
        base_model = resolve_base_model(said.base_model)
        weights = context.weights_hash(base_model)
        counts = token_counts(count_request(context.token_counter(base_model), said.positive_prompt, clip_prompt))
    except SqPipelineError as error:
        reason = "; ".join(map(str, error.faults))
        yield Check("base model", "cannot be told", reason)
        yield Check("tokens", "cannot be told", f"they are counted by {said.base_model}'s own tokenizers")
    else:
        yield compare("base model", said.base_weights, weights, f"{said.base_model}, the same files", "moved on")
        found = [count.model_dump() for count in counts]
        told = ", ".join(f"{count.encoder} {count.tokens} of {count.budget}" for count in counts)
        dropped = f"; left out to fit: {', '.join(left_out)}" if left_out else ""
        check = compare("tokens", [count.model_dump() for count in said.tokens], found, told + dropped)
        if check.outcome == "differs" and weights != said.base_weights:
            check = Check("tokens", "cannot be told", "the base model's files are others now, its tokenizers too maybe")
        yield check
        is_same_engine = dict(context.engines.renderer_versions) == said.engine
        names, found = [said.sampler, said.scheduler], [SAMPLER, base_model.scheduler]
        yield compare("sampler", names, found, ", ".join(names), "differs" if is_same_engine else "moved on")
    now = dict(context.engines.renderer_versions)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(now.items()))
    yield compare("versions", said.engine, now, versions, "moved on")
    yield compare("chip", said.chip, context.engines.chip, said.chip, "moved on")


def render_again(
    context: Context,
    said: RenderProvenance,
    png: PngFile,
    uses: tuple[AdapterUse, ...] | str,
    clip_prompt: str | None = None,
) -> Check:
    """The same picture once more: its pixels, and what is applied of each adapter. `uses`: or why there are none."""
    name = "rendered again"
    try:
        base_model = resolve_base_model(said.base_model)
        if why := _why_not_again(context, said, base_model):
            return Check(name, "cannot be told", why)
        if isinstance(uses, str):
            return Check(name, "cannot be told", uses)
        request = RenderRequest(
            base_model=base_model.name,
            positive_prompt=said.positive_prompt,
            negative_prompt=said.negative_prompt or None,
            clip_prompt=clip_prompt,
            seed=said.seed,
            num_inference_steps=said.num_inference_steps,
            width_px=said.width_px,
            height_px=said.height_px,
            guidance=said.guidance,
            adapters=tuple(replace(use, name=item.file) for use, item in zip(uses, said.adapters, strict=True)),
            tier=said.tier,
        )
        image = context.engines.renderer().render(request)
    except SqPipelineError as error:
        return Check(name, "cannot be told", "; ".join(map(str, error.faults)))
    # with other versions, or on another chip, other pixels prove nothing
    is_same_machine = (dict(context.engines.renderer_versions), context.engines.chip) == (said.engine, said.chip)
    found = png.pixels if png.pixels is not None and png.pixels.shape == image.pixels.shape else None
    share = "all" if found is None else f"{(found != image.pixels).any(axis=-1).mean():.2%}"
    if found is not None and (found == image.pixels).all():
        if other := _other_counts(said, image):
            return Check(name, "differs" if is_same_machine else "moved on", other)
        return Check(name, "agrees", "every pixel")
    if is_same_machine:
        return Check(name, "differs", f"{share} of the pixels come out otherwise")
    return Check(name, "moved on", f"{share} of the pixels come out otherwise, with other versions or on another chip")


def _other_counts(said: RenderProvenance, image: RenderedImage) -> str:
    """What was applied of the adapters, where it is not what the picture says."""
    pairs = [
        (
            adapter.name,
            [adapter.keys_matched, adapter.keys_total, adapter.layers_patched, adapter.layers_expected],
            [applied.keys_matched, applied.keys_total, applied.layers_patched, applied.layers_expected],
        )
        for adapter, applied in zip(said.adapters, image.applied, strict=True)
    ]
    return "; ".join(f"keys and layers of {name}: {change(mine, now)}" for name, mine, now in pairs if mine != now)


def _why_not_again(context: Context, said: RenderProvenance, base_model: BaseModel) -> str:
    if context.weights_hash(base_model) != said.base_weights:
        return f"{base_model.name}'s files are others now"
    # a forged number must not keep a machine busy for days
    if said.num_inference_steps > STEPS_MAX or said.width_px * said.height_px > AREA_MAX_PX:
        return f"{said.num_inference_steps} steps at {said.width_px} × {said.height_px} are not rendered for a check"
    return ""
