"""What made a picture that somebody asked of the render server, put together while it is made.

Not here: its fields (`pictures.provenance`), checking it later (`verify_image.request_image`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.base_models.ports import TokenCounter, TokenCounts
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.pictures.adapter_files import AdapterFile
from sq_pipeline.pictures.applied import SAMPLER, adapter_provenance, token_counts
from sq_pipeline.pictures.ports import RenderedImage, RenderRequest
from sq_pipeline.pictures.provenance import RequestProvenance, TokenCount


def count_request(counter: TokenCounter, positive_prompt: str, clip_prompt: str | None) -> TokenCounts:
    """The tokens of what each encoder is given."""
    counts = counter.count_tokens(positive_prompt)
    return counts if clip_prompt is None else replace(counts, clip=counter.count_tokens(clip_prompt).clip)


def cut_encoders(tokens: Iterable[TokenCount]) -> tuple[str, ...]:
    """The encoders that read the beginning only."""
    return tuple(count.encoder for count in tokens if count.tokens > count.budget)


def write_request_provenance(
    request: RenderRequest,
    image: RenderedImage,
    adapters: Sequence[tuple[str, AdapterFile]],
    counter: TokenCounter,
    base_weights: str,
    versions: Mapping[str, str],
    chip: str,
) -> RequestProvenance:
    """All that made `image`. `adapters`: path from the data directory and contents of each file, in order."""
    height, width, _ = image.pixels.shape
    tokens = token_counts(count_request(counter, request.positive_prompt, request.clip_prompt))
    return RequestProvenance(
        pixels=hash_bytes(image.pixels.tobytes()),
        tier=request.tier,
        seed=request.seed,
        positive_prompt=request.positive_prompt,
        clip_prompt=request.clip_prompt,
        negative_prompt=request.negative_prompt,
        tokens=tokens,
        cut=cut_encoders(tokens),
        sampler=SAMPLER,
        scheduler=resolve_base_model(request.base_model).scheduler,
        num_inference_steps=request.num_inference_steps,
        guidance=request.guidance,
        width_px=width,
        height_px=height,
        base_model=request.base_model,
        base_weights=base_weights,
        adapters=tuple(
            adapter_provenance(
                applied, PurePosixPath(name).stem, name, file.data_version, file.file_sha256, file.update_norm
            )
            for (name, file), applied in zip(adapters, image.applied, strict=True)
        ),
        engine=dict(versions),
        chip=chip,
    )
