"""The main job with the real engines: the demo trains, remaps, verifies and renders; then exactly what changed.

What the demo as a person has it must show is `long`; its small copy shows the same of everything but the looks.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.png_file import encode_png, read_png
from sq_pipeline.verification.ssim import ssim
from sq_pipeline_tests.end_to_end.conftest import Demo, run_command

pytestmark = [pytest.mark.long, pytest.mark.takes(s=300)]

WORLDS = ("neon_tides/harbour_of_glass", "spaghetti_western/dust_and_iron", "spaghetti_western/the_real_mccoy")


def pictures_of(data: DataDir, genre: str) -> dict[str, Path]:
    return {path.stem: path for path in (data.genre_root(genre) / "images/poi").glob("*.png")}


def test_makes_everything_in_one_go(demo: Demo) -> None:
    report = demo.report
    assert (len(report["trained"]), len(report["remapped"]), len(report["verified"])) == (3, 3, 3)
    assert report["failed"] == report["blocked"] == report["waiting"] == []
    assert report["model_loads"] == 1
    worlds = [f"{picture['genre']}/{picture['world']}" for picture in report["rendered"]]
    assert {world: worlds.count(world) for world in WORLDS} == dict.fromkeys(WORLDS, 9)


def test_every_picture_tells_what_it_is_made_from(demo: Demo) -> None:
    for picture in demo.report["rendered"]:
        assert picture.keys() == {"genre", "world", "poi", "tier", "path", "sha256", "fingerprint"}
        path = demo.data.root / picture["path"]
        assert path == demo.data.published_image(picture["genre"], "landscape", picture["poi"])
        assert hash_file(path) == picture["sha256"]
        with Image.open(path) as image:
            image.load()
            notes: dict[str, str] = image.text  # type: ignore[attr-defined]
            assert image.size == (128, 96)
        assert notes["sq.fingerprint"] == picture["fingerprint"]
        (adapter,) = json.loads(notes["sq.stack"])
        assert adapter["keys_matched"] == adapter["keys_total"] == 64
        assert adapter["layers_patched"] == 52
        wanted = {
            "harbour_of_glass": "neon_tides",
            "dust_and_iron": "spaghetti_western",
            "the_real_mccoy": "real_mccoy",
        }
        prompt = json.loads(notes["sq.inputs"])["positive_prompt"]
        assert prompt.startswith(f"{wanted[picture['world']]}, ")


def test_a_picture_tells_the_truth_and_an_edited_one_does_not(demo: Demo, tmp_path: Path) -> None:
    path = demo.data.published_image("neon_tides", "landscape", "turbine_hill")
    answer = run_command("verify-image", path, "--render", "--json", "--data", demo.data.root)
    assert answer.code == 0, answer.out
    assert {check["outcome"] for check in answer.report["checks"]} == {"agrees"}
    png = read_png(path, "sq.")
    assert png.pixels is not None
    pixels = png.pixels.copy()
    pixels[0, 0] ^= 255
    edited = tmp_path / "edited.png"
    edited.write_bytes(encode_png(pixels, png.texts))
    answer = run_command("verify-image", edited, "--data", demo.data.root)
    assert (answer.code, answer.err) == (1, "")
    assert "edited.png: this picture does not tell the truth: pixels" in answer.out


def test_chapter_prose_reaches_no_prompt(demo: Demo) -> None:
    rows = run_command("prompts", "--json", "--data", demo.data.root).report["prompts"]
    assert len(rows) == 27
    texts = " ".join(row["positive_prompt"] for row in rows)
    for path in demo.data.packs_root.rglob("history.yaml"):
        for chapter in yaml.safe_load(path.read_text())["chapters"]:
            for field in ("narrative_log", "atmosphere", "location"):
                assert chapter[field].strip() not in texts
    assert all(row["t5_tokens"] <= row["t5_budget"] and row["dropped"] == [] for row in rows)


def test_promotion_is_on_record(demo: Demo) -> None:
    for genre, names in (
        ("neon_tides", {"neon_tides_landscape"}),
        ("spaghetti_western", {"spaghetti_western_landscape", "the_real_mccoy_landscape"}),
    ):
        adapters = yaml.safe_load(demo.data.manifest(genre).read_text())["adapters"]
        assert set(adapters) == names
        for entry in adapters.values():
            assert "automatic" in entry["promoted_by"]
            assert entry["verified"]["adapter fidelity"].startswith("passed: 52 of 52 layers, largest relative error ")
            assert entry["verified"]["keys matched"] == "passed: 64 of 64 keys, 52 of 52 layers"
            assert entry["verified"]["picture changed"].startswith("passed")
            assert entry["verified"]["style shown"].startswith("passed: pictures show ")
            assert entry["verified"]["trigger"].startswith(
                ("passed: always on", "passed: answers", "passed: only with")
            )
            assert (demo.data.lora_root / entry["file"]).is_file()


def describe_style(pixels: np.ndarray) -> np.ndarray:
    """Palette, framing, contrast and texture of a picture as nine numbers, whatever it shows."""
    grey = pixels.mean(axis=2)
    bars = np.concatenate([pixels[:8], pixels[-8:]]).mean(axis=(0, 1))
    scan_lines = np.abs(grey[2:] - grey[:-2]).mean() - np.abs(grey[4:] - grey[:-4]).mean()
    fine = np.abs(np.diff(grey, axis=1)).mean()
    return np.array([*pixels.mean(axis=(0, 1)), *bars, grey.std(), scan_lines, fine])


def test_the_worlds_look_different(whole: Demo) -> None:
    """By its style alone, a picture is nearest to the other pictures of its own world (chance: 9 of 27)."""
    worlds: list[str] = []
    rows: list[np.ndarray] = []
    for picture in whole.report["rendered"]:
        with Image.open(whole.data.root / picture["path"]) as image:
            rows.append(describe_style(np.asarray(image.convert("RGB"), dtype=float)))
        worlds.append(f"{picture['genre']}/{picture['world']}")
    table = np.stack(rows)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    right = 0
    for index, world in enumerate(worlds):
        others = {name: [i for i, w in enumerate(worlds) if w == name and i != index] for name in WORLDS}
        right += min(WORLDS, key=lambda n: float(np.abs(table[index] - table[others[n]].mean(axis=0)).sum())) == world
    assert right >= 22


def test_the_places_of_a_world_are_not_one_picture(demo: Demo) -> None:
    for genre in ("neon_tides", "spaghetti_western"):
        pixels = [np.asarray(Image.open(path).convert("RGB")) for path in pictures_of(demo.data, genre).values()]
        likeness = [ssim(first, second) for i, first in enumerate(pixels) for second in pixels[:i]]
        assert max(likeness) < 0.97


def test_nothing_half_written_and_no_path_of_this_machine(demo: Demo) -> None:
    written = [path for path in demo.data.root.rglob("*") if path.is_file()]
    assert not [path for path in written if ".part" in path.name]
    kinds = {".json", ".yaml", ".md", ".txt", ".png", ".jsonl", ".safetensors"}
    told = str(demo.data.root).encode()
    ours = [
        path for path in written if path.suffix in kinds and "dagster" not in path.relative_to(demo.data.root).parts
    ]
    datasets = [path for path in ours if demo.data.datasets_root in path.parents]
    assert len(ours) > len(datasets) + 100 > 150
    assert not [path for path in ours if told in path.read_bytes()]


def test_reports_of_the_verification_are_in_the_store(demo: Demo) -> None:
    texts = [path.read_text() for path in (demo.data.store_root / "objects").rglob("*.md")]
    reports = [text for text in texts if ": PASS" in text.partition("\n")[0]]
    assert len(reports) == 3
    for text in reports:
        for check in ("adapter fidelity", "adapter file", "keys matched", "picture changed", "style shown", "trigger"):
            assert f"| {check} | ✓ passed |" in text


def test_a_second_call_makes_nothing(demo: Demo) -> None:
    report = run_command("demo", demo.data.root, "--json").report
    assert [report[name] for name in ("trained", "remapped", "verified", "rendered", "failed")] == [[]] * 5
    assert report["model_loads"] == 0
    assert run_command("plan", "--data", demo.data.root, "--json").report["stale"] == []


def test_a_lost_picture_is_made_again_byte_for_byte(small: Demo, copy: DataDir) -> None:
    picture = small.report["rendered"][4]
    digits = picture["sha256"].removeprefix("sha256:")
    stored = copy.store_root / "objects" / digits[:2] / f"{digits}.png"
    content = stored.read_bytes()
    stored.unlink()
    report = run_command("run", "--data", copy.root, "--json").report
    assert [item["poi"] for item in report["rendered"]] == [picture["poi"]]
    assert report["trained"] == report["remapped"] == report["verified"] == []
    assert stored.read_bytes() == content


def test_an_edited_prompt_makes_one_picture_again(copy: DataDir) -> None:
    path = copy.world_root("spaghetti_western", "the_real_mccoy") / "history.yaml"
    before = {slug: picture.read_bytes() for slug, picture in pictures_of(copy, "spaghetti_western").items()}
    text = path.read_text()
    edited = text.replace("a chapel in the centre of the desert at noon", "a chapel in the centre of the snow at noon")
    assert edited != text
    path.write_text(f"# a comment\n{edited}")
    (stale,) = [
        item
        for item in run_command("plan", "--data", copy.root, "--json").report["stale"]
        if "poi_images" in item["asset"]
    ]
    assert stale["asset"].endswith("the_real_mccoy/poi_images:duel_church")
    assert "desert" in stale["reasons"][0]
    report = run_command("run", "--world", "spaghetti_western/the_real_mccoy", "--data", copy.root, "--json").report
    assert [item["poi"] for item in report["rendered"]] == ["duel_church"]
    after = {slug: picture.read_bytes() for slug, picture in pictures_of(copy, "spaghetti_western").items()}
    assert {slug for slug in before if after[slug] != before[slug]} == {"duel_church"}


def test_a_changed_scale_renders_its_worlds_only(copy: DataDir) -> None:
    path = copy.genre_root("spaghetti_western") / "visual_style.yaml"
    path.write_text(path.read_text().replace("scale: 1.0", "scale: 0.8"))
    report = run_command("run", "--data", copy.root, "--json").report
    assert {item["world"] for item in report["rendered"]} == {"dust_and_iron"}
    assert len(report["rendered"]) == 9
    assert report["trained"] == report["verified"] == []


@pytest.fixture(scope="module")
def remade(small: Demo, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The demo with its store deleted: what was promoted still stands."""
    root = tmp_path_factory.mktemp("remade") / "data"
    shutil.copytree(small.data.root, root, ignore=shutil.ignore_patterns("store"))
    return DataDir(root)


def test_plan_without_a_store_still_knows_what_is_promoted(remade: DataDir) -> None:
    stale = run_command("plan", "--data", remade.root, "--json").report["stale"]
    assert {item["asset"].rpartition("/")[2] for item in stale if "/loras/" in item["asset"]} == {
        "training_dataset",
        "mlx_adapter",
        "chosen_checkpoint",
        "mflux_adapter",
        "verification",
        "promoted_adapter",
    }
