"""Trains tiny-flux from nothing but the painter: run this module with `OUT`.

Steps, resumed from the work folder: the tokenizer over captions, the text encoders, the autoencoder, the pictures'
latents, the transformer. Not here: LoRA training (`engines.trainers.mlx.trainer`).
"""

# ruff: noqa: E402 - OpenBLAS goes before MLX
import argparse
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from sq_pipeline.engines import blas

blas.preload()

import mlx.core as mx
from mlx.utils import tree_flatten

from sq_pipeline.engines.tiny_flux.large import model, text
from sq_pipeline.engines.tiny_flux.large.pretraining import codec_step, pictures, text_step, transformer_step
from sq_pipeline.engines.tiny_flux.large.pretraining.recipe import PretrainRecipe

MODULE = "sq_pipeline.engines.tiny_flux.large.pretraining.pretrain"
_RING = "MLX_HOSTFILE"  # MLX's own names, for processes that reach each other over sockets
_RANK = "MLX_RANK"


def prepare(recipe: PretrainRecipe, out: Path, work: Path) -> model.TinyFluxParts:
    """The networks with what is trained before the transformer, from the work folder where it is there."""
    tokenizer_file = out / model.TOKENIZER_FILE
    text_file, codec_file = (work / f"{name}.safetensors" for name in ("text", "codec"))
    if not tokenizer_file.is_file():
        text_step.make_tokenizer(recipe).save(str(tokenizer_file))
    mx.random.seed(recipe.seed)
    parts = model.new_parts(fast_activations=mx.default_device() == mx.Device(mx.cpu))
    if text_file.is_file():
        text_step.Reader(parts).load_weights(str(text_file))
    else:
        reader = text_step.train_text_encoders(recipe, parts, text.load_tokenizer(tokenizer_file))
        mx.save_safetensors(str(text_file), dict(tree_flatten(reader.parameters())))
    if codec_file.is_file():
        parts.vae.load_weights(str(codec_file))
    else:
        codec_step.train_autoencoder(recipe, parts.vae, codec_step.draw_codec_pictures(recipe))
        mx.save_safetensors(str(codec_file), dict(tree_flatten(parts.vae.parameters())))
    return parts


def learn(recipe: PretrainRecipe, parts: model.TinyFluxParts, out: Path, work: Path) -> None:
    """The transformer, in this process or one of several."""
    group = mx.distributed.init(backend="ring") if _RANK in os.environ else mx.distributed.init(backend="any")
    tokenizer = text.load_tokenizer(out / model.TOKENIZER_FILE)
    learned = pictures.draw_pictures(recipe, parts.vae, tokenizer, work, group.rank(), group.size())
    transformer_step.train_transformer(recipe, parts, learned, work, group)
    if group.rank() == 0:
        command = f"python -m {MODULE} OUT --processes {group.size()}"
        model.save_parts(out, parts, {"command": command, **asdict(recipe)})


def _side_by_side(processes: int, work: Path) -> int:
    """Run this command again in `processes`, one BLAS thread each: two threads of one process use one core well."""
    hosts = work / "hosts.json"
    hosts.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in _free_ports(processes)]))
    started: list[subprocess.Popen[bytes]] = []
    for rank in range(processes):
        environment = os.environ | {_RING: str(hosts), _RANK: str(rank), "OPENBLAS_NUM_THREADS": "1"}
        started.append(subprocess.Popen([sys.executable, "-m", MODULE, *sys.argv[1:]], env=environment))
    try:
        return max(abs(process.wait()) for process in started)
    finally:
        for process in started:
            process.kill()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


def main() -> None:
    """Train all steps into `OUT`; `--work` keeps what an interrupted training needs."""
    parser = argparse.ArgumentParser(description="Train tiny-flux on pictures drawn by the painter.")
    parser.add_argument("out", type=Path, help="folder for the model, such as data/models/tiny-flux")
    parser.add_argument("--work", type=Path, default=Path(".tmp/tiny-flux"), help="folder for checkpoints")
    parser.add_argument("--processes", type=int, default=2, help="how many learn side by side, one core each")
    parser.add_argument("--prepare-only", action="store_true", help="end before the transformer")
    for name, value in asdict(PretrainRecipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    out, work, processes = arguments.pop("out"), arguments.pop("work"), arguments.pop("processes")
    ends_before = arguments.pop("prepare_only")
    recipe = PretrainRecipe(**arguments)
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    parts = prepare(recipe, out, work)
    if ends_before:
        return
    if processes > 1 and _RANK not in os.environ:
        sys.exit(_side_by_side(processes, work))
    learn(recipe, parts, out, work)


if __name__ == "__main__":
    main()
