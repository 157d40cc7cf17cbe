"""How good tiny-flux is: `python -m sq_pipeline_tests.benchmarks.quality [DATA]` prints a table and writes a sheet.

200 random prompts are rendered through the product's own renderer and judged by `painter.judge`. The judge's
own hit rate on fresh pictures of the painter is printed beside it: the ceiling.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.painter.judge import WORDS, Judge, border_step_ratio
from sq_pipeline.painter.scenes import paint, random_scene
from sq_pipeline.pictures.ports import RenderRequest

WANTED = {"time": 0.95, "ground": 0.95, "place": 0.90, "subject": 0.80}
WANTED_BORDER_STEP = 1.5


def measure(data: DataDir, pictures: int, seed: int, sheet: Path | None) -> dict[str, tuple[float, float]]:
    """For each word: (share right, the judge's own share); `border step`: (median of tiny-flux, of the painter)."""
    judge, rng, base_model = Judge(), random.Random(seed), BASE_MODELS["tiny-flux"]
    renderer = factory.renderer(data)
    size = base_model.settings_for("landscape").size
    hits = {word: [0, 0] for word in WORDS}
    steps: tuple[list[float], list[float]] = ([], [])
    tiles: list[Image.Image] = []
    for _ in range(pictures):
        scene = random_scene(rng)
        rendered = renderer.render(
            RenderRequest(
                base_model=base_model.name,
                positive_prompt=scene.caption(),
                seed=rng.getrandbits(32),
                num_inference_steps=base_model.num_inference_steps,
                width_px=size.width_px,
                height_px=size.height_px,
                guidance=base_model.guidance,
            )
        ).pixels
        painted = np.asarray(paint(scene))
        for which, pixels in enumerate((rendered, painted)):
            verdict = judge.name(pixels)
            steps[which].append(border_step_ratio(pixels))
            for word in WORDS:
                hits[word][which] += getattr(verdict, word) == getattr(scene, word)
        tiles.append(Image.fromarray(rendered))
    if sheet is not None:
        _write_sheet(tiles[:48], sheet)
    result = {word: (right / pictures, own / pictures) for word, (right, own) in hits.items()}
    # pictures in whose sky a subject stands have edges of their own: the middle picture speaks for all
    result["border step"] = (float(np.median(steps[0])), float(np.median(steps[1])))
    return result


def _write_sheet(tiles: list[Image.Image], path: Path) -> None:
    width, height = tiles[0].size
    sheet = Image.new("RGB", (8 * width, -(-len(tiles) // 8) * height))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % 8 * width, index // 8 * height))
    sheet.save(path)


def main() -> None:
    """Print the table; exit 1 when a figure misses what is wanted."""
    parser = argparse.ArgumentParser(description="Measure how well tiny-flux follows its prompts.")
    parser.add_argument("data", type=Path, nargs="?", default=Path("data"))
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--sheet", type=Path, help="also write the first 48 pictures to this PNG")
    arguments = parser.parse_args()
    figures = measure(DataDir(arguments.data.resolve()), arguments.pictures, arguments.seed, arguments.sheet)
    table = Table("what", "tiny-flux", "wanted", "the painter's own")
    is_good = True
    for word, wanted in WANTED.items():
        share, own = figures[word]
        is_good &= share >= wanted
        table.add_row(word, f"{share:.1%}", f"≥ {wanted:.0%}", f"{own:.1%}")
    step, own_step = figures["border step"]
    is_good &= step <= WANTED_BORDER_STEP
    table.add_row("step across patch borders / inside", f"{step:.2f}", f"≤ {WANTED_BORDER_STEP}", f"{own_step:.2f}")
    Console().print(table)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
