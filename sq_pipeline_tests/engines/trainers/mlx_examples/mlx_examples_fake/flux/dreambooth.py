"""Stands for mlx-examples' trainer in tests: the same arguments, lines and files, and no training.

`FAKE` in the environment is a JSON object: `form` ("new", "old": nothing final is saved), `hidden_size` and blocks of
the adapters, `fail_at`, `nan_at`, `hang_at`, `stop_at` (iterations), `damage` of what is saved last, `told` (a file
that gets the arguments and what was seen of the dataset), `pid` (a file that gets its number; `hangs` comes beside it).
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

SWITCHES = {"form": "new", "hidden_size": 8, "double_blocks": 1, "single_blocks": 1, **json.loads(os.environ["FAKE"])}
DOUBLE = {"attn.qkv": (1, 3), "attn.proj": (1, 1), "mlp.layers.0": (1, 4), "mlp.layers.2": (4, 1), "mod.lin": (1, 6)}
SINGLE = {"linear1": (1, 7), "linear2": (5, 1), "modulation.lin": (1, 3)}


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="dev", choices=["dev", "schnell"])
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--resolution", type=lambda x: tuple(map(int, x.split("x"))), default=(512, 512))
    parser.add_argument("--num-augmentations", type=int, default=5)
    parser.add_argument("--progress-prompt", required=True)
    for name, default in (("steps", 50), ("every", 50)):
        parser.add_argument(f"--progress-{name}", type=int, default=default)
    parser.add_argument("--checkpoint-every", type=int, default=50)
    parser.add_argument("--lora-blocks", type=int, default=-1)
    parser.add_argument("--lora-rank", type=int, default=8)
    parser.add_argument("--warmup-steps", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default="1e-4")
    parser.add_argument("--grad-accumulate", type=int, default=4)
    parser.add_argument("--output-dir", default="mlx_output")
    parser.add_argument("dataset")
    return parser.parse_args()


def read_dataset(args):
    seen = []
    for line in (Path(args.dataset) / "train.jsonl").read_text().splitlines():
        item = json.loads(line)
        pixels = np.array(Image.open(Path(args.dataset) / item["image"]))[:, :, :3]
        seen.append([item["prompt"], list(pixels.shape), pixels[0, 0].tolist()])
    return seen


def modules():
    h = SWITCHES["hidden_size"]
    for index in range(SWITCHES["double_blocks"]):
        for stream in ("img", "txt"):
            for kind, (inputs, outputs) in DOUBLE.items():
                yield f"double_blocks.{index}.{stream}_{kind}", inputs * h, outputs * h
    for index in range(SWITCHES["single_blocks"]):
        for kind, (inputs, outputs) in SINGLE.items():
            yield f"single_blocks.{index}.{kind}", inputs * h, outputs * h


def save(args, name, iteration):
    path = Path(args.output_dir) / name
    print(f"Saving {path}")
    numbers = np.random.default_rng(iteration)
    tensors = {}
    for module, inputs, outputs in modules():
        tensors[f"{module}.lora_a"] = numbers.normal(0, 0.1, (inputs, args.lora_rank)).astype(np.float32)
        tensors[f"{module}.lora_b"] = numbers.normal(0, 0.1, (args.lora_rank, outputs)).astype(np.float32)
    damage = SWITCHES.get("damage") if iteration == args.iterations else None
    first = next(iter(tensors))
    if damage == "nan":
        tensors[first][0, 0] = math.nan
    elif damage == "missing":
        del tensors[first]
    elif damage == "extra":
        tensors["img_in.lora_a"] = tensors[first]
    elif damage == "shape":
        tensors[first] = tensors[first][:, :-1].copy()
    elif damage == "dtype":
        tensors[first] = tensors[first].astype(np.float64)
    elif damage == "zeros":
        tensors = {key: value * (not key.endswith("lora_b")) for key, value in tensors.items()}
    save_file(tensors, path, {"lora_rank": str(args.lora_rank), "lora_blocks": str(args.lora_blocks)})
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])


def draw(args, iteration):
    path = Path(args.output_dir) / f"{iteration:07d}_progress.png"
    print(f"Generating {path}", flush=True)
    Image.new("RGB", (16, 16), (iteration % 256, 0, 0)).save(path)


def main():
    args = parse()
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    told = {
        **vars(args),
        "offline": os.environ.get("HF_HUB_OFFLINE"),
        "cwd": str(Path.cwd()),
        "seen": read_dataset(args),
    }
    Path(SWITCHES["told"]).write_text(json.dumps(told))
    Path(SWITCHES["pid"]).write_text(str(os.getpid()))
    if SWITCHES["form"] == "new":
        (Path(args.output_dir) / "adapter_config.json").write_text("{}")
        print(f"Load the local dataset {args.dataset}/train.jsonl .", flush=True)
    print("Training 0.123M parameters", flush=True)
    if SWITCHES["form"] == "old":
        print("Create the training dataset.", flush=True)
    sys.stderr.write("encode: 0%|    | 0/3\rencode: 100%|####| 3/3\n")
    draw(args, 0)
    for i in range(args.iterations):
        at = i + 1
        if at == SWITCHES.get("fail_at"):
            raise ValueError("[load] no such thing\nand a second line")
        if at == SWITCHES.get("hang_at"):
            Path(SWITCHES["pid"]).with_name("hangs").touch()
            time.sleep(300)
        if at == SWITCHES.get("stop_at"):
            os.kill(os.getpid(), signal.SIGSTOP)
        loss = math.nan if at == SWITCHES.get("nan_at") else 1 / at
        if at % 10 == 0:
            print(f"Iter: {at} Loss: {loss:.3f} It/s: 20.000 Peak mem: {1 + at / 1000:.3f} GB", flush=True)
        if at % args.progress_every == 0:
            draw(args, at)
        if at % args.checkpoint_every == 0:
            save(args, f"{at:07d}_adapters.safetensors", at)
    if SWITCHES["form"] == "new":
        save(args, "final_adapters.safetensors", args.iterations)
        print("Training successful.")


if __name__ == "__main__":
    main()
