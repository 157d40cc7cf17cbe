"""What made a picture, put together while it is made. Not here: its fields (`pictures.provenance`), checking it later
(`verify_image.image`).
"""

from typing import Any

from sq_pipeline.common.fingerprints import hash_bytes, short
from sq_pipeline.content.records import Subject, World
from sq_pipeline.pictures.applied import SAMPLER, adapter_provenance, token_counts, update_norm
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage
from sq_pipeline.pictures.provenance import AdapterProvenance, Provenance
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_state import AppliedEntry, WorldState


def write_provenance(
    context: Context, state: WorldState, subject: Subject, step: Step, image: RenderedImage
) -> Provenance:
    """All that made `image`, of the step's inputs; raises StorageError where an adapter's file is damaged."""
    height, width, _ = image.pixels.shape
    world, base_model, text = state.world, context.base_model_of_world(state.world), state.texts[subject.slug]
    settings = subject.own.over(context.render_settings(base_model, state.tier))
    return Provenance(
        fingerprint=step.fingerprint,
        pixels=hash_bytes(image.pixels.tobytes()),
        genre=text.genre,
        world=text.world,
        poi=text.poi,
        slug=text.slug,
        tier=text.tier,
        base_seed=world.style.base_seed,
        own_seed=subject.own.seed or None,
        seed=text.seed,
        positive_prompt=text.positive_prompt,
        negative_prompt=text.negative_prompt if base_model.reads_negative_prompt else None,
        tokens=token_counts(text.counts),
        dropped=text.dropped,
        sampler=SAMPLER,
        scheduler=base_model.scheduler,
        num_inference_steps=settings.num_inference_steps,
        guidance=settings.guidance,
        width_px=width,
        height_px=height,
        base_model=base_model.name,
        base_weights=context.weights_hash(base_model),
        adapters=tuple(
            _adapter(context, world, entry, applied)
            for entry, applied in zip(state.entries, image.applied, strict=True)
        ),
        engine=dict(context.engines.renderer_versions),
        chip=context.engines.chip,
    )


def picture_figures(record: Record) -> dict[str, Any]:
    """What a page shows of a picture: numbers that plot, and its stack as a table."""
    stack: list[dict[str, Any]] = record.info["stack"]
    matched = {"matched keys": sum(entry["keys_matched"] for entry in stack)} if stack else {}
    rendered = {"seconds": record.info["elapsed_s"]} if record.info.get("elapsed_s") else {}
    said = {"prompt": "positive_prompt", "seed": "seed", "kept": "kept"}
    return {
        **{name: record.inputs[key] for name, key in said.items() if key in record.inputs},
        **rendered,
        **matched,
        "stack": [{**entry, "adapter_version": short(entry["adapter_version"])} for entry in stack],
        "fingerprint": record.fingerprint,
    }


def _adapter(context: Context, world: World, entry: AppliedEntry, applied: AppliedAdapter) -> AdapterProvenance:
    stored = entry.record.objects["adapter"]
    path = context.adapter_file(stored)  # hashed before it was rendered with, and again now
    key = ("update norm", entry.record.data_version)
    norm: float | None = context.remember(key, lambda: update_norm(path))
    file = context.catalog.adapters[f"{world.genre}/{entry.name}"].file
    return adapter_provenance(applied, entry.name, file, entry.record.data_version, stored.sha256, norm)
