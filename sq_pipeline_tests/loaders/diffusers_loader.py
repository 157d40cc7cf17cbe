"""diffusers' FLUX.1 loading of adapters, run without torch.

The wheel's own, run from its source text (`diffusers_source`): choosing the dialect, converting it, and ranks and
alphas. Ours: torch (`numpy_torch`), PEFT (`peft_rule`), the model's skeleton and reading the file. Text encoders are
left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import safetensors

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline_tests.adapters.files import load_bits, metadata_of
from sq_pipeline_tests.loaders.diffusers_source import run_wheel
from sq_pipeline_tests.loaders.layers import Layer, layers_of, put_together
from sq_pipeline_tests.loaders.numpy_torch import Linear, StandIn, Tensor, tensor_of
from sq_pipeline_tests.loaders.outcomes import Applied, Loader, NotRun, Outcome, Refused, first_line
from sq_pipeline_tests.loaders.peft_rule import updates_of
from sq_pipeline_tests.loaders.wheels import wheel_folder


def apply_with_diffusers(loader: Loader, files: Sequence[tuple[Path, Flux1Model]]) -> list[Outcome]:
    """One outcome for each file."""
    folder = wheel_folder("diffusers", loader.version)
    if isinstance(folder, NotRun):
        return [folder] * len(files)
    return [_apply(folder / "diffusers", file, base_model) for file, base_model in files]


def _apply(package: Path, file: Path, base_model: Flux1Model) -> Outcome:
    warnings: list[str] = []
    names = run_wheel(package, base_model, _FILES, warnings)
    layers = layers_of(base_model, "diffusers")
    transformer = _transformer(names["PeftAdapterMixin"], layers)
    pipeline = type("Pipeline", (names["FluxLoraLoaderMixin"],), _PIPELINE)()
    pipeline.transformer = transformer
    try:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, use_safetensors=True)
        deltas = updates_of(transformer)
    except NameError:  # the wheel calls something that was not taken: a fault of this harness
        raise
    except Exception as error:
        return Refused(first_line(error))
    return Applied(put_together(base_model, layers, deltas), warnings)


_PIPELINE: dict[str, Any] = {
    "text_encoder": None,
    "lora_scale": 1.0,
    "load_lora_into_text_encoder": lambda self, *_, **__: None,
}


def _transformer(mixin: type, layers: Sequence[Layer]) -> Any:
    """A model of nothing but the blocks' linear layers, with the wheel's `load_lora_adapter`."""
    linears = {layer.path: Linear(layer.inputs, layer.outputs) for layer in layers}
    paths: dict[str, Any] = {}
    for path, linear in linears.items():
        parts = path.split(".")
        for count in range(1, len(parts)):
            paths.setdefault(".".join(parts[:count]), object())
        paths[path] = linear

    def named_modules(self: Any) -> Iterator[tuple[str, Any]]:
        yield "", self
        yield from paths.items()

    attributes = {
        "linears": linears,
        "get_submodule": lambda self, path: paths[path],
        "named_modules": named_modules,
        "modules": lambda self: (module for _, module in named_modules(self)),
        "state_dict": lambda self: {f"{path}.weight": linear.weight for path, linear in linears.items()},
        "_optionally_disable_offloading": lambda self, _pipeline: (False, False, False),
        "_prepare_lora_hotswap_kwargs": None,
        "_hf_peft_config_loaded": False,
    }
    return type("FluxTransformer2DModel", (mixin,), attributes)()


def _load_file(file: str, device: str = "cpu") -> dict[str, Tensor]:
    """As `safetensors.torch.load_file`: in the order of the file."""
    with safetensors.safe_open(file, framework="numpy") as opened:
        order = opened.offset_keys()
    tensors = load_bits(Path(file))
    return {name: tensor_of(bits, dtype) for name in order for dtype, bits in [tensors[name]]}


class _OpenFile:
    """`safetensors.torch.safe_open`, for the metadata alone."""

    def __init__(self, file: str, framework: str, device: str) -> None:
        self._file = Path(file)

    def __enter__(self) -> "_OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def metadata(self) -> dict[str, str]:
        """The file's metadata."""
        return metadata_of(self._file)


_FILES = StandIn(
    "safetensors",
    SafetensorError=safetensors.SafetensorError,
    torch=StandIn("safetensors.torch", load_file=_load_file, safe_open=_OpenFile),
)
