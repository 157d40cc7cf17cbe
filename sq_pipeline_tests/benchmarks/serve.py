"""Measured figures of the render server and of hot stacks: `python -m sq_pipeline_tests.benchmarks.serve`.

* A swap of stacks against building the model again, of tiny-flux and of a FLUX.1 of 550 million random parameters.
* A picture of a warm server against bare `generate_image`, interleaved rounds.
* 200 pictures over four stacks in mixed order: swaps, loads, files read.
* Eight clients, 400 renders, hang-ups, cancels, malformed lines: what became of each, and the server's memory.
"""

import asyncio
import contextlib
import io
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import FLUX1_MODELS, Flux1Model
from sq_pipeline.cli.printing import print_line, print_table, say
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.engines import blas, machine
from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.serve.client import RenderClient
from sq_pipeline.serve.picture_files import read_pixels
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.serve.adapters import write_adapter
from sq_pipeline_tests.serve.peers import PICTURE, join_as_peer, storm
from sq_pipeline_tests.serve.processes import join, server_process

if TYPE_CHECKING:
    from mlx import nn

_ROUNDS, _PICTURES, _YOUNG_S = 11, 4, 2.5
_LARGE = replace(FLUX1_MODELS["flux1-dev"], name="random-flux", hidden_size=1024, double_blocks=8, single_blocks=16)

Row = tuple[str, str, str]


def _spread(values: list[float], unit: str = "") -> str:
    """The median and the quartiles: on a busy machine the least and the greatest tell of others."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3g}{unit} (quartiles {low:.3g} to {high:.3g})"


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _write_random_weights(path: Path) -> int:
    """The weights of `_LARGE` under mflux's names, bfloat16; returns how many parameters it has."""
    import mlx.core as mx
    from mflux.models.flux.model.flux_transformer.transformer import Transformer
    from mlx.utils import tree_flatten

    from sq_pipeline.engines.tiny_flux import mflux_build

    full, ours = FLUX1_MODELS["flux1-dev"].hidden_size, _LARGE.hidden_size
    shapes = {
        name: tuple(size // full * ours if size % full == 0 else size for size in array.shape)
        for name, array in tree_flatten(
            Transformer(mflux_build.model_config(), _LARGE.double_blocks, _LARGE.single_blocks).parameters()
        )
        if isinstance(array, mx.array)
    }
    weights = {name: 0.02 * mx.random.normal(shape, dtype=mx.bfloat16) for name, shape in shapes.items()}
    mx.save_safetensors(str(path), weights)
    return sum(array.size for array in weights.values())


def measure_swaps(folder: Path, data: DataDir) -> list[Row]:
    """Building the model again over a swap of stacks, for both models."""
    import mlx.core as mx
    from mflux.models.flux.model.flux_transformer.transformer import Transformer

    from sq_pipeline.engines.tiny_flux import mflux_build

    weights = folder / "random.safetensors"
    count = _write_random_weights(weights)
    mx.clear_cache()

    def build_tiny() -> "nn.Module":
        return mflux_build.build(data.models_root / "tiny-flux").transformer

    def build_large() -> "nn.Module":
        transformer = Transformer(mflux_build.model_config(), _LARGE.double_blocks, _LARGE.single_blocks)
        mflux_build.shrink_transformer(transformer, _LARGE.hidden_size)
        transformer.load_weights(str(weights), strict=False)  # the constructor knows one width
        mx.eval(transformer.parameters())
        return transformer

    cases: list[tuple[str, Flux1Model, Callable[[], nn.Module]]] = [
        ("tiny-flux", FLUX1_MODELS["tiny-flux"], build_tiny),
        (f"FLUX.1 of {count / 1e6:.0f} million parameters", _LARGE, build_large),
    ]
    return [row for name, base_model, build in cases for row in _measure_swaps_of(name, base_model, build, folder)]


def _measure_swaps_of(name: str, base_model: Flux1Model, build: "Callable[[], nn.Module]", folder: Path) -> list[Row]:
    """Every second swap is followed by the model being built again, on which both stacks are then put ready."""
    import mlx.core as mx

    from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
    from sq_pipeline.engines.mflux.loader_targets import mapping_for

    paths = [write_adapter(folder / f"{base_model.name}-{seed}.safetensors", seed, base_model, 8) for seed in (1, 2)]
    stacks = [(AdapterUse(path, 0.8),) for path in paths]
    time.sleep(_YOUNG_S)
    builds: list[float] = []
    firsts: list[float] = []
    reads: list[float] = []
    swaps: list[float] = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        model = build()
        builds.append(time.perf_counter() - start)
        stack = AdapterStack(model, mapping_for(base_model), 1 << 30)
        firsts.append(_seconds(partial(stack.use, stacks[0])))
        reads.append(_seconds(partial(stack.use, stacks[1])))
        swaps.append(statistics.median(_seconds(partial(stack.use, uses)) for uses in stacks))
        assert stack.files_read == len(stacks)
        del model, stack
        mx.clear_cache()

    def row(what: str, seconds: list[float], wanted: str = "") -> Row:
        ratios = [build_s / swap_s for build_s, swap_s in zip(builds, seconds, strict=True)]
        millis = [1000 * value for value in seconds]
        return f"{name}: building again over {what}", f"{_spread(ratios)}; it takes {_spread(millis, ' ms')}", wanted

    return [
        row("a swap to a ready stack", swaps, "≥ 20"),
        row("a swap from the file, names seen before", reads),
        row("the same, the first file of its names", firsts),
    ]


def measure_pictures(data: DataDir, client: RenderClient) -> list[Row]:
    """The server's pictures, fetched and decoded, against bare `generate_image` in this process."""
    import mlx.core as mx

    from sq_pipeline.engines.tiny_flux import mflux_build

    base_model = FLUX1_MODELS["tiny-flux"]
    size, steps = base_model.settings_for("landscape").size, base_model.num_inference_steps
    prompts = [f"a tower on the left of the {word} at noon" for word in ("snow", "meadow", "desert", "lake")]
    use_float32()
    # in a thread of its own, as the server renders
    pool = ThreadPoolExecutor(1)
    flux = pool.submit(mflux_build.build, data.models_root / "tiny-flux").result()

    def ours() -> None:
        for seed, prompt in enumerate(prompts[:_PICTURES]):
            asked = {"positive_prompt": prompt, "seed": seed, "steps": steps}
            sizes = {"width": size.width_px, "height": size.height_px}
            path = data.root / client.call("render", {**PICTURE, **asked, **sizes})["image_path"]
            read_pixels(path)
            path.unlink()

    def bare() -> None:
        for seed, prompt in enumerate(prompts[:_PICTURES]):
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
                asked = (seed, prompt, steps, size.height_px, size.width_px)
                pool.submit(flux.generate_image, *asked, guidance=0.0).result()

    def cpu_s() -> float:
        """What this process and the server have computed so far."""
        return time.process_time() + client.call("status")["cpu_s"]

    walls: list[float] = []
    cpus: list[float] = []
    for number in range(-1, 3 * _ROUNDS):
        wall, cpu = dict[Callable[[], None], float](), dict[Callable[[], None], float]()
        for function in (ours, bare) if number % 2 else (bare, ours):
            before = cpu_s()
            wall[function] = _seconds(function)
            cpu[function] = cpu_s() - before
        if number >= 0:
            walls.append(wall[ours] / wall[bare])
            cpus.append(cpu[ours] / cpu[bare])
    pool.submit(mx.clear_streams).result()
    return [
        ("a warm server's picture over bare generate_image, time", _spread(walls), "≤ 1.03"),
        ("the same, processor time of server and client", _spread(cpus), ""),
    ]


def measure_batch(data: DataDir, process: "subprocess.Popen[str]") -> list[Row]:
    """200 pictures over four stacks, asked for at once in mixed order."""
    paths = [f"content/lora/{seed}.safetensors" for seed in range(4)]
    rng = random.Random(1)
    time.sleep(_YOUNG_S)

    async def scenario() -> tuple[dict[str, int], dict[str, int], int]:
        peer = await join_as_peer(data)
        before = (await peer.ask("status"))["engine"]
        # the first one is in hand before the others have come
        for number in range(200):
            peer.render(number, steps=1, lora_paths=[rng.choice(paths)], lora_scales=[0.8])
        rendered = sum([await peer.hear_code() == "ok" for _ in range(200)])
        return before, (await peer.ask("status"))["engine"], rendered

    before, after, rendered = asyncio.run(scenario())
    assert process.poll() is None
    told = {name: after[name] - before[name] for name in ("stack_swaps", "adapter_reads")}
    figures = f"{rendered} rendered, {told['stack_swaps']} swaps, {after['model_loads']} load"
    return [
        ("200 pictures over 4 stacks, mixed", f"{figures}, {told['adapter_reads']} files read", "≤ 4 swaps, 1 load")
    ]


def _resident_bytes(pid: int) -> int:
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return 1024 * int(answer.stdout)


def measure_storm(data: DataDir, process: "subprocess.Popen[str]") -> list[Row]:
    """Eight clients of 50 renders each; memory after the first 50 and the most of all later looks at it."""
    tally, memory = Counter[str](), list[int]()

    async def watch() -> dict[str, int]:
        peer = await join_as_peer(data)
        start = (await peer.ask("status"))["counts"]
        while True:
            status = await peer.ask("status")
            counts = {name: count - start.get(name, 0) for name, count in status["counts"].items()}
            if counts.get("rendered", 0) >= 50:
                memory.append(_resident_bytes(process.pid))
            if counts["accepted"] == 400 and not status["queued"] and status["running"] is None:
                return counts
            await asyncio.sleep(0.1)

    async def scenario() -> dict[str, int]:
        async def client(number: int) -> None:
            lists: dict[str, Any] = {"lora_paths": [f"content/lora/{number % 4}.safetensors"], "lora_scales": [0.8]}
            await storm(lambda: join_as_peer(data), random.Random(number), 50, tally, **lists)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(client(number) for number in range(8)))
        return await watching

    counts = asyncio.run(scenario())
    assert counts["accepted"] == counts["rendered"] + counts["cancelled"] == tally["asked"] == 400
    assert tally["rendered"] + tally["cancelled"] + tally["abandoned"] == 400
    answered = f"{tally['rendered']} pictures, {tally['cancelled']} cancelled, {tally['abandoned']} hung up"
    growth = max(memory) / memory[0] - 1
    return [
        ("8 clients, 400 renders", f"{answered}; {tally['malformed']} malformed", "each answered once, none lost"),
        ("memory after the first 50 → most", f"{memory[0] / 2**20:.0f} MiB, {growth:+.1%}", "≤ +5 %"),
    ]


def main() -> None:
    """Print all figures."""
    shipped = DataDir(shipped_data_root())
    cores, gflops = os.cpu_count(), blas.measure_gflops()
    print_line(f"{machine.chip_name()}, {cores} cores, {gflops:.0f} GFLOP/s, load {os.getloadavg()[0]:.1f}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = link_shipped(Path(folder) / "data", shipped)
        for seed in range(4):
            write_adapter(data.lora_root / f"{seed}.safetensors", seed)
        with server_process(data) as process:
            with join(data, process) as client:
                say("a warm server against bare generate_image …")
                rows += measure_pictures(data, client)
            say("200 pictures over 4 stacks …")
            rows += measure_batch(data, process)
        say("8 clients, 400 renders …")
        with server_process(data) as process:
            rows += measure_storm(data, process)
        say("swaps against building again …")
        rows += measure_swaps(Path(folder), shipped)
    print_table(("what", "measured", "wanted"), rows)


if __name__ == "__main__":
    main()
