"""What made a picture that somebody asked of the render server, put together while it is made.

Not here: its fields (`core.provenance`), checking it later (`verify_request_image`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from sq_pipeline.core.base_models import resolve_base_model
from sq_pipeline.core.fingerprints import hash_bytes
from sq_pipeline.core.protocols import AppliedAdapter, RenderedImage, RenderRequest, TokenCounter, TokenCounts
from sq_pipeline.core.provenance import AdapterProvenance, RequestProvenance
from sq_pipeline.stages.adapter_files import AdapterFile
from sq_pipeline.stages.picture_provenance import SAMPLER, scaled_norm, token_counts


def count_request(counter: TokenCounter, positive_prompt: str, clip_prompt: str | None) -> TokenCounts:
    """The tokens of what each encoder is given."""
    counts = counter.count_tokens(positive_prompt)
    return counts if clip_prompt is None else replace(counts, clip=counter.count_tokens(clip_prompt).clip)


def cut_encoders(counts: TokenCounts) -> tuple[str, ...]:
    """The encoders that read the beginning only."""
    return tuple(count.encoder for count in token_counts(counts) if count.tokens > count.budget)


def write_request_provenance(
    request: RenderRequest,
    tier: str,
    image: RenderedImage,
    adapters: Sequence[tuple[str, AdapterFile]],
    counter: TokenCounter,
    base_weights: str,
    versions: Mapping[str, str],
    chip: str,
) -> RequestProvenance:
    """All that made `image`. `adapters`: path from the data directory and contents of each file, in order."""
    height, width, _ = image.pixels.shape
    counts = count_request(counter, request.positive_prompt, request.clip_prompt)
    return RequestProvenance(
        pixels=hash_bytes(image.pixels.tobytes()),
        tier=tier,
        seed=request.seed,
        positive_prompt=request.positive_prompt,
        clip_prompt=request.clip_prompt,
        negative_prompt=request.negative_prompt,
        tokens=token_counts(counts),
        cut=cut_encoders(counts),
        sampler=SAMPLER,
        scheduler=resolve_base_model(request.base_model).scheduler,
        num_inference_steps=request.num_inference_steps,
        guidance=request.guidance,
        width_px=width,
        height_px=height,
        base_model=request.base_model,
        base_weights=base_weights,
        adapters=tuple(
            _adapter(name, file, applied) for (name, file), applied in zip(adapters, image.applied, strict=True)
        ),
        engine=dict(versions),
        chip=chip,
    )


def _adapter(name: str, file: AdapterFile, applied: AppliedAdapter) -> AdapterProvenance:
    return AdapterProvenance(
        name=PurePosixPath(name).stem,
        file=name,
        lora_scale=applied.lora_scale,
        data_version=file.data_version,
        file_sha256=file.file_sha256,
        keys_matched=applied.keys_matched,
        keys_total=applied.keys_total,
        layers_patched=applied.layers_patched,
        layers_expected=applied.layers_expected,
        update_norm=scaled_norm(file.update_norm, applied.lora_scale),
    )
