"""From a call to what an engine takes, and from what it gave to an answer. Here: which files a client may name.

Not here: sockets, and the order of rendering.
"""

import os
import stat
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BaseModel, resolve_base_model
from sq_pipeline.common.errors import AdapterError, BaseModelError, NoMatchError, RenderError, SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.pictures.provenance import RequestProvenance
from sq_pipeline.serve.protocol import ProtocolError, RenderParams, RequestId
from sq_pipeline.serve.queue import RenderKey


def allowed_roots(data: DataDir) -> tuple[Path, Path]:
    """The folders whose adapters are served: promoted ones, and the store."""
    return data.lora_root, data.store_root


def resolve_adapter(data: DataDir, text: str, request_id: RequestId) -> Path:
    """The file that a client means, without links; raises ProtocolError (outside, missing, no file)."""
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    try:
        path = (data.root / text).resolve(strict=True)
        is_inside = any(path.is_relative_to(root.resolve()) for root in allowed_roots(data))
        is_file = is_inside and stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        path = None
        # lexically: whether something is there outside is nobody's business
        named = Path(os.path.normpath(data.root / text))
        is_inside = any(named.is_relative_to(root) for root in allowed_roots(data))
        is_file = False
    if not is_inside:
        message = f"{shown} is not below content/lora or store of the data directory"
        raise ProtocolError("path_outside", message, request_id)
    if path is None or not is_file:
        raise ProtocolError("adapter_missing", f"{shown}: there is no such file", request_id)
    return path


def to_request(data: DataDir, params: RenderParams, request_id: RequestId) -> RenderRequest:
    """What the engine is asked; raises ProtocolError."""
    base_model = resolve_base_model(params.variant)
    uses = tuple(
        AdapterUse(resolve_adapter(data, text, request_id), lora_scale)
        for text, lora_scale in zip(params.lora_paths, params.lora_scales, strict=True)
    )
    return RenderRequest(
        base_model=base_model.name,
        positive_prompt=params.positive_prompt,
        clip_prompt=params.clip_prompt,
        negative_prompt=params.negative_prompt if base_model.reads_negative_prompt else None,
        seed=params.seed,
        num_inference_steps=params.steps,
        width_px=params.width,
        height_px=params.height,
        guidance=params.guidance if base_model.guidance is not None else None,
        adapters=uses,
        tier=params.tier,
    )


def key_of(request: RenderRequest) -> RenderKey:
    """What tells whether a render needs another stack or base model than the last one."""
    return RenderKey(request.base_model, request.adapters)


def ignored_params(params: RenderParams) -> list[str]:
    """What was asked and the base model does not read."""
    base_model: BaseModel = resolve_base_model(params.variant)
    ignored = ["negative_prompt"] if params.negative_prompt and not base_model.reads_negative_prompt else []
    return ignored + (["guidance"] if params.guidance is not None and base_model.guidance is None else [])


def adapter_names(data: DataDir, request: RenderRequest) -> list[str]:
    """The adapters' paths from the data directory."""
    return [_relative(data, use.path) for use in request.adapters]


def describe_picture(params: RenderParams, said: RequestProvenance) -> dict[str, Any]:
    """What the answer says of a picture beside its place and the time that it took."""
    return {
        "tier": said.tier,
        "variant": said.base_model,
        "seed": said.seed,
        "steps": said.num_inference_steps,
        "width": said.width_px,
        "height": said.height_px,
        "guidance": said.guidance,
        "lora_paths": [adapter.file for adapter in said.adapters],
        "lora_scales": [adapter.lora_scale for adapter in said.adapters],
        "matched_keys": [adapter.keys_matched for adapter in said.adapters],
        "total_keys": [adapter.keys_total for adapter in said.adapters],
        "layers_patched": [adapter.layers_patched for adapter in said.adapters],
        "layers_expected": [adapter.layers_expected for adapter in said.adapters],
        "base_weights": said.base_weights,
        "cut": list(said.cut),
        "ignored": ignored_params(params),
    }


def _relative(data: DataDir, path: Path) -> str:
    """The path is without links, the data directory may be reached through some."""
    return data.relative(path) if path.is_relative_to(data.root) else DataDir(data.root.resolve()).relative(path)


def to_error(error: SqPipelineError, data: DataDir, request_id: RequestId) -> ProtocolError:
    """The answer to a render that the engine refused; paths in it are relative where they lie in the data directory."""
    text = "; ".join(map(str, error.faults)).replace(f"{data.root.resolve()}{os.sep}", "")
    if isinstance(error, NoMatchError):
        return ProtocolError("adapter_no_match", text, request_id)
    if isinstance(error, BaseModelError):
        return ProtocolError("base_model_missing", text, request_id)
    if isinstance(error, RenderError | AdapterError):
        if any(fault.field in ("positive_prompt", "clip_prompt") for fault in error.faults):
            return ProtocolError("prompt_too_long", text, request_id)
        return ProtocolError("adapter_not_applied", text, request_id)
    return ProtocolError("render_failed", text, request_id)
