"""Measured figures: `python -m sq_pipeline_tests.benchmarks`. All timings are here, in `benchmarks.scale`,
`benchmarks.serve`, `benchmarks.adapters` and `benchmarks.memory`; tests have none.

The demo is timed by the command line in processes of its own. Throughputs are ratios of interleaved rounds in one run,
since machines are noisy; the spread over the rounds is printed beside them.
"""

import contextlib
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.cli.printing import print_line, print_table, say
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.engines import blas, factory, machine
from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe

_COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))
_ROUNDS, _TRAIN_ITERATIONS, _PICTURES = 7, 8, 4


def _run(*arguments: str) -> tuple[float, int, dict[str, object]]:
    """Wall time in seconds, peak memory of the process in bytes, and its JSON."""
    start = time.perf_counter()
    process = subprocess.Popen([_COMMAND, *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss * unit, json.loads(out)


def _time_whole(*arguments: str) -> str:
    """Median wall time of a whole process, five times over, after one that is not counted."""
    seconds: list[float] = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run([_COMMAND, *arguments], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - start)
    return f"{statistics.median(seconds[1:]):.2f} s"


def measure_demo() -> list[tuple[str, str, str]]:
    """The demo on an empty directory, a second call, `plan` and `--help`, and one lost picture.

    Processor seconds are the command's and its children's: on a busy machine they tell more than the wall time.
    """
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "demo"
        say("demo on an empty directory …")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall_s, peak_bytes, report = _run("demo", str(root))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        rendered = report["rendered"]
        assert isinstance(rendered, list)
        rows.append(("demo, empty directory", f"{wall_s:.0f} s, {peak_bytes / 2**30:.2f} GiB", "≤ 90 s, ≤ 4 GiB"))
        rows.append(("demo, processor time of all its processes", f"{cpu_s:.0f} s", ""))
        wall_s, _, report = _run("demo", str(root))
        assert report["rendered"] == report["trained"] == []
        rows.append(("demo, second call", f"{wall_s:.1f} s", "≤ 12 s"))
        rows.append(("plan of the demo, whole process", _time_whole("plan", "--data", str(root)), "≤ 1.5 s"))
        rows.append(("--help, whole process", _time_whole("--help"), "≤ 0.3 s"))
        digits = rendered[0]["sha256"].removeprefix("sha256:")
        stored = root / "store/objects" / digits[:2] / f"{digits}.png"
        content = stored.read_bytes()
        stored.unlink()
        wall_s, _, report = _run("run", "--data", str(root))
        made = report["rendered"]
        assert isinstance(made, list)
        assert len(made) == 1
        assert stored.read_bytes() == content
        rows.append(("run, one picture lost", f"{wall_s:.1f} s, the same bytes", "exactly that one"))
        shutil.rmtree(root)
    return rows


def _compare(ours: Callable[[], None], bare: Callable[[], None]) -> tuple[float, float, float]:
    """Median ratio ours / bare of interleaved rounds, and its least and greatest."""
    ratios: list[float] = []
    for function in (ours, bare):
        function()
    for number in range(_ROUNDS):
        seconds: dict[Callable[[], None], float] = {}
        for function in (ours, bare) if number % 2 else (bare, ours):
            start = time.perf_counter()
            function()
            seconds[function] = time.perf_counter() - start
        ratios.append(seconds[ours] / seconds[bare])
    return statistics.median(ratios), min(ratios), max(ratios)


def measure_training(data: DataDir, examples: Sequence[TrainingExample]) -> tuple[float, float, float]:
    """Our training loop against a plain loop of `value_and_grad` and `compile` over the same module and optimizer."""
    import mlx.core as mx
    from mlx import optimizers
    from mlx.nn.utils import value_and_grad

    from sq_pipeline.engines.trainers.mlx.base import open_training_base
    from sq_pipeline.engines.trainers.mlx.loop import TrainingLoop, flow_matching_loss
    from sq_pipeline.engines.trainers.mlx.lora_layers import add_lora
    from sq_pipeline.engines.trainers.mlx.trainer import prepare
    from sq_pipeline.training.memory import TrainingSettings
    from sq_pipeline.training.ports import TrainRequest

    recipe = Recipe(trigger="x", rank=8, batch_size=8, grad_accumulation=1, iterations=100_000)
    request = TrainRequest("tiny-flux", tuple(examples), recipe, Path("unused"))
    base = open_training_base(BASE_MODELS["tiny-flux"], data)
    settings = TrainingSettings(16, False)
    network, dataset = prepare(base, settings, request, "")
    add_lora(network, recipe.rank)
    loop = TrainingLoop(network, dataset, recipe, base.time_curve)

    other, _ = prepare(open_training_base(BASE_MODELS["tiny-flux"], data), settings, request, "")
    add_lora(other, recipe.rank)
    optimizer = optimizers.Adam(1e-4)
    optimizer.init(other.trainable_parameters())
    gradient_of = value_and_grad(other, flow_matching_loss)
    bucket = dataset.buckets[0]
    batch, noise, times = bucket.latents[:8], mx.random.normal((8, 48, 64)), mx.random.uniform(shape=(8,))
    text, pooled = mx.repeat(dataset.text, 8, axis=0), mx.repeat(dataset.pooled, 8, axis=0)
    mx.eval(network.parameters(), other.parameters(), batch, noise, times, text, pooled)
    state = [other.state, optimizer.state]

    def step(*arrays: mx.array) -> mx.array:
        loss, gradient = gradient_of(other, *arrays, bucket.grid)
        optimizer.update(other, gradient)
        return loss

    compiled = mx.compile(step, inputs=state, outputs=state)

    def ours() -> None:
        for _ in range(_TRAIN_ITERATIONS):
            loop.advance()

    def bare() -> None:
        for _ in range(_TRAIN_ITERATIONS):
            mx.eval(compiled(batch, noise, times, text, pooled), state)

    return _compare(ours, bare)


def measure_resume(data: DataDir, examples: Sequence[TrainingExample]) -> float:
    """From the start of a training that was cut off to its first iteration's end, in iterations, but for that one."""
    from sq_pipeline.training.ports import CheckpointPlace, TrainProgress, TrainRequest

    recipe = Recipe(trigger="x", batch_size=8, grad_accumulation=1, iterations=40, checkpoint_interval=20)
    ended: list[float] = []

    def cut_off(progress: TrainProgress) -> None:
        ended.append(time.perf_counter())
        if progress.iteration == 30:
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        place = CheckpointPlace(Path(folder) / "checkpoints", "sha256:benchmark")
        request = TrainRequest("tiny-flux", tuple(examples), recipe, Path(folder) / "a.safetensors", place)
        trainer = factory.trainer(data)
        with contextlib.suppress(KeyboardInterrupt):
            trainer.train(request, cut_off)
        iteration_s = statistics.median(then - now for now, then in itertools.pairwise(ended))
        resumed: list[float] = []
        start = time.perf_counter()
        trainer.train(request, lambda _progress: resumed.append(time.perf_counter() - start))
    return resumed[0] / iteration_s - 1


def measure_rendering(data: DataDir) -> tuple[float, float, float]:
    """The renderer against bare `generate_image` calls on the same model."""
    from sq_pipeline.engines.tiny_flux import mflux_build

    base_model = BASE_MODELS["tiny-flux"]
    renderer = factory.renderer(data)
    steps, size = base_model.num_inference_steps, base_model.settings_for("landscape").size
    prompts = [f"a tower on the left of the {word} at noon" for word in ("snow", "meadow", "desert", "lake")]
    use_float32()
    flux = mflux_build.build(data.models_root / "tiny-flux")

    def ours() -> None:
        for seed, prompt in enumerate(prompts[:_PICTURES]):
            renderer.render(RenderRequest("tiny-flux", prompt, seed, steps, size.width_px, size.height_px, None))

    def bare() -> None:
        for seed, prompt in enumerate(prompts[:_PICTURES]):
            flux.generate_image(
                seed=seed,
                prompt=prompt,
                num_inference_steps=steps,
                height=size.height_px,
                width=size.width_px,
                guidance=0.0,
            )

    return _compare(ours, bare)


def _draw_examples(folder: Path) -> list[TrainingExample]:
    import random

    from sq_pipeline.painter.scenes import paint, random_scene

    rng, examples = random.Random(1), list[TrainingExample]()
    for index in range(16):
        paint(random_scene(rng)).save(folder / f"{index}.png")
        examples.append(TrainingExample(folder / f"{index}.png", "x"))
    return examples


def main() -> None:
    """Print all figures."""
    data = DataDir(shipped_data_root())
    print_line(
        f"{machine.chip_name()}, {os.cpu_count()} cores, {blas.preload().name} {blas.measure_gflops():.0f} GFLOP/s"
    )
    rows = measure_demo()

    def with_spread(figure: tuple[float, float, float]) -> str:
        return f"{figure[0]:.3f} (rounds {figure[1]:.3f} to {figure[2]:.3f})"

    with tempfile.TemporaryDirectory() as folder:
        say("training against a bare loop …")
        training = measure_training(data, _draw_examples(Path(folder)))
        resume = measure_resume(data, _draw_examples(Path(folder)))
    rows.append(("a training that is continued, before its first iteration", f"{resume:.2f} iterations", "≤ 2"))
    rows.append(("training, time over a compiled bare MLX loop's", with_spread(training), "≤ 1.05"))
    say("rendering against bare generate_image …")
    rows.append(("rendering, time over bare generate_image's", with_spread(measure_rendering(data)), "≤ 1.05"))
    print_table(("what", "measured", "wanted"), rows)


if __name__ == "__main__":
    main()
