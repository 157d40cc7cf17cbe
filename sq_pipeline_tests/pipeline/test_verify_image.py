"""`verify-image` over a finished game: a true picture, each kind of lie, a world that moved on, what cannot be told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import load_file

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint, hash_bytes
from sq_pipeline.pictures.png_file import encode_png, read_png
from sq_pipeline.pictures.provenance import CHIP, CHUNKS, FINGERPRINT, INPUTS, PLACE, PROVENANCE, STACK, Provenance
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.image import ImageReport, verify_image
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game

Said = dict[str, Any]


def picture(game: Game, slug: str = "mill") -> Path:
    return game.data.published_image("west", "landscape", slug)


def verify(game: Game, path: Path | None = None, *, is_rendered_again: bool = False) -> ImageReport:
    context = Context(game.data, game.engines(game.data), looks_ahead=False)
    return verify_image(context, path or picture(game), is_rendered_again=is_rendered_again)


def outcomes(report: ImageReport, *kinds: str) -> set[str]:
    return {check.name for check in report.checks if check.outcome in kinds}


def detail(report: ImageReport, name: str) -> str:
    return next(check.detail for check in report.checks if check.name == name)


def forge(game: Game, target: Path, change: Callable[[Said], None], *, is_consistent: bool = True) -> Path:
    """A copy whose metadata says something else; consistently: all chunks and the fingerprint follow."""
    png = read_png(picture(game), "sq.")
    said, inputs = json.loads(png.texts[PROVENANCE]), json.loads(png.texts[INPUTS])
    before = canonical_json(said)
    change(said)
    assert canonical_json(said) != before
    texts = dict(png.texts)
    if is_consistent:
        inputs |= {name: said[name] for name in ("positive_prompt", "seed", "num_inference_steps", "guidance")}
        inputs["stack"] = [[item["data_version"], item["lora_scale"]] for item in said["adapters"]]
        inputs |= {"base_model": said["base_model"], "base_weights": said["base_weights"]}
        inputs = {key: value for key, value in inputs.items() if not key.startswith("renderer.")}
        inputs |= {f"renderer.{name}": version for name, version in said["engine"].items()}
        said["fingerprint"] = fingerprint(inputs)
        stack = json.loads(texts[STACK])
        for entry, item in zip(stack, said["adapters"], strict=True):
            entry |= {name: item[name] for name in entry if name in item} | {"adapter_version": item["data_version"]}
        place = f"{said['genre']}/{said['world']}/{said['slug']}"
        texts |= {FINGERPRINT: said["fingerprint"], INPUTS: canonical_json(inputs), STACK: canonical_json(stack)}
        texts |= {PLACE: place, CHIP: said["chip"]}
    texts[PROVENANCE] = canonical_json(said)
    assert png.pixels is not None
    target.write_bytes(encode_png(png.pixels, texts))
    return target


def test_a_true_picture_agrees_in_everything(done: Game) -> None:
    report = verify(done, is_rendered_again=True)
    assert outcomes(report, "agrees") == {check.name for check in report.checks}
    assert len(report.checks) == 16
    assert not report.has_lied
    assert report.summary == "nothing contradicts what this picture says"
    said = report.as_json()
    assert {said["genre"], said["world"], said["poi"], said["tier"]} == {"west", "old", "mill", "landscape"}
    assert said["sha256"] == hash_bytes(picture(done).read_bytes())


def test_what_it_says_is_what_there_was(done: Game) -> None:
    said = verify(done).provenance
    assert isinstance(said, Provenance)
    (adapter,) = said.adapters
    path = done.data.lora_root / "west/landscape.safetensors"
    assert adapter.file == "west/landscape.safetensors"
    assert adapter.file_sha256 == hash_bytes(path.read_bytes())
    assert adapter.keys_matched == adapter.keys_total == len(open_safetensors(path).tensors)
    tensors = load_file(path)
    squares = 0.0
    for name, down in tensors.items():
        if name.endswith(".lora_down.weight"):
            up = tensors[name.replace("lora_down", "lora_up")].astype(np.float64)
            rank = down.shape[0]
            alpha = float(tensors.get(name.replace("lora_down.weight", "alpha"), np.float32(rank)))
            squares += float(np.sum((alpha / rank * (up @ down.astype(np.float64))) ** 2))
    assert adapter.update_norm == pytest.approx(squares**0.5, rel=1e-5)
    assert said.tokens[0].model_dump() == {"encoder": "T5", "tokens": 6, "budget": 96}
    assert (said.sampler, said.scheduler) == ("euler", "linear")


def test_no_time_no_path_and_no_person_is_in_the_file(done: Game) -> None:
    texts = read_png(picture(done), "").texts
    assert set(texts) == set(CHUNKS)
    whole = " ".join(texts.values())
    for word in (str(done.data.root), "/home", "promoted_by", "automatic", "elapsed", "in process"):
        assert word not in whole


def test_the_same_inputs_give_the_same_bytes(done: Game) -> None:
    before = picture(done).read_bytes()
    record = Context(done.data, done.engines(done.data)).store
    name = hash_bytes(before).removeprefix("sha256:")
    (record.root / "objects" / name[:2] / f"{name}.png").unlink()
    picture(done).unlink()
    assert [item["poi"] for item in done.run().rendered] == ["mill"]
    assert picture(done).read_bytes() == before


# lies


def test_edited_pixels_are_noticed(done: Game, tmp_path: Path) -> None:
    png = read_png(picture(done), "sq.")
    assert png.pixels is not None
    pixels = png.pixels.copy()
    pixels[5, 7, 1] ^= 1
    (tmp_path / "a.png").write_bytes(encode_png(pixels, png.texts))
    report = verify(done, tmp_path / "a.png", is_rendered_again=True)
    assert outcomes(report, "differs") == {"pixels", "rendered again"}
    assert report.summary == "this picture does not tell the truth: pixels, rendered again"
    assert detail(report, "rendered again") == "0.01% of the pixels come out otherwise"


def test_edited_pixels_with_a_new_hash_contradict_the_store(done: Game, tmp_path: Path) -> None:
    png = read_png(picture(done), "sq.")
    assert png.pixels is not None
    pixels = 255 - png.pixels
    said = json.loads(png.texts[PROVENANCE]) | {"pixels": hash_bytes(pixels.tobytes())}
    (tmp_path / "a.png").write_bytes(encode_png(pixels, {**png.texts, PROVENANCE: canonical_json(said)}))
    report = verify(done, tmp_path / "a.png", is_rendered_again=True)
    assert outcomes(report, "differs") == {"store", "rendered again"}


@pytest.mark.parametrize("change", ["cut", "grey"])
def test_a_picture_that_was_saved_again_otherwise_is_noticed(change: str, done: Game, tmp_path: Path) -> None:
    notes = PngInfo()
    for name, text in read_png(picture(done), "sq.").texts.items():
        notes.add_itxt(name, text)
    with Image.open(picture(done)) as image:
        other = image.crop((0, 0, 64, 96)) if change == "cut" else image.convert("L")
        other.save(tmp_path / "a.png", pnginfo=notes)
    report = verify(done, tmp_path / "a.png")
    assert outcomes(report, "differs") == {"pixels"}
    assert detail(report, "pixels").startswith("size [128,96] → [64,96]" if change == "cut" else "they were 8-bit RGB")


def _set(name: str, value: Any) -> Callable[[Said], None]:
    return lambda said: said.update({name: value})


def _set_adapter(name: str, value: Any) -> Callable[[Said], None]:
    return lambda said: said["adapters"][0].update({name: value})


ONE_FIELD: list[tuple[Callable[[Said], None], set[str]]] = [
    (_set("positive_prompt", "another"), {"metadata", "tokens", "store"}),
    (_set("seed", 1), {"metadata", "seed", "store"}),
    (_set("base_seed", 7), {"seed"}),
    (_set("poi", "Mine"), {"seed"}),
    (_set("slug", "mine"), {"metadata"}),
    (_set("num_inference_steps", 4), {"metadata", "store"}),
    (_set("guidance", 3.5), {"metadata", "store"}),
    (_set("scheduler", "flow_match_euler_discrete"), {"sampler", "store"}),
    (_set("tokens", []), {"tokens", "store"}),
    (_set("dropped", ["tier suffix"]), {"store"}),
    (_set("chip", "another chip"), {"metadata"}),
    (_set("engine", {"fake": "2"}), {"metadata", "store"}),
    (_set("fingerprint", "sha256:" + "1" * 64), {"fingerprint", "metadata"}),
    (_set_adapter("lora_scale", 0.5), {"metadata", "update of west_land", "store"}),
    (_set_adapter("keys_matched", 0), {"metadata", "adapters applied", "store"}),
    (_set_adapter("layers_patched", 5), {"metadata", "adapters applied", "store"}),
    (_set_adapter("share_kept", 0.5), {"adapters applied", "store"}),
    (_set_adapter("update_norm", 1.25), {"update of west_land", "store"}),
    (_set("adapters", []), {"metadata", "store"}),
]


@pytest.mark.parametrize(("change", "differs"), ONE_FIELD)
def test_one_forged_field_is_found(
    change: Callable[[Said], None], differs: set[str], done: Game, tmp_path: Path
) -> None:
    report = verify(done, forge(done, tmp_path / "a.png", change, is_consistent=False))
    assert outcomes(report, "differs") == differs
    assert report.has_lied


def test_consistently_forged_metadata_does_not_survive_a_render(done: Game, tmp_path: Path) -> None:
    """Nobody but the pixels contradicts a forger who rewrites everything, so the render does."""
    path = forge(done, tmp_path / "a.png", _set("positive_prompt", "west, wide, a castle of Mill"))
    report = verify(done, path)
    assert outcomes(report, "differs") == set()
    assert outcomes(report, "cannot be told") == {"store"}
    assert "1 of 15 checks could not be made" in report.summary
    assert outcomes(verify(done, path, is_rendered_again=True), "differs") == {"rendered again"}


def test_consistently_forged_counts_contradict_the_file(done: Game, tmp_path: Path) -> None:
    def more_keys(said: Said) -> None:
        said["adapters"][0] |= {"keys_matched": 64_000, "keys_total": 64_000}

    report = verify(done, forge(done, tmp_path / "a.png", more_keys))
    assert outcomes(report, "differs") == {"update of west_land", "store"}


# the world has moved on


def test_an_edited_prompt_is_no_lie(done: Game) -> None:
    pois = [poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn")]
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(*pois)]})
    report = verify(done, is_rendered_again=True)
    assert not report.has_lied
    assert outcomes(report, "moved on") == {"what would be made now"}
    assert "burnt" in detail(report, "what would be made now")
    assert report.summary == "nothing contradicts what this picture says; another one would be made now"


def test_a_removed_place_and_a_removed_world_are_no_lies(done: Game, tmp_path: Path) -> None:
    copy = tmp_path / "mill.png"
    copy.write_bytes(picture(done).read_bytes())
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mine"), poi("Inn"))]})
    assert detail(verify(done, copy), "what would be made now") == "west/old shows no landscape mill"
    shutil.rmtree(done.data.world_root("west", "old"))
    report = verify(done, copy)
    assert not report.has_lied
    assert detail(report, "what would be made now") == "there is no world west/old here"


def test_other_weights_versions_and_chip_are_no_lies(done: Game) -> None:
    done.engines.weights["tiny-flux"] = "sha256:" + "9" * 64
    report = verify(done, is_rendered_again=True)
    assert outcomes(report, "moved on") == {"base model", "what would be made now"}
    assert detail(report, "base model") == "000000000000 → 999999999999"
    assert outcomes(report, "cannot be told") == {"rendered again"}
    done.engines.weights["tiny-flux"] = "sha256:" + "0" * 64
    done.engines.renderer_versions["fake"] = "2"
    report = verify(done)
    assert outcomes(report, "moved on") == {"versions", "what would be made now"}
    assert not report.has_lied


def test_a_replaced_adapter_is_no_lie(done: Game) -> None:
    path = done.data.lora_root / "west/landscape.safetensors"
    own = path.read_bytes()
    path.write_bytes((done.data.lora_root / "west/paper/landscape.safetensors").read_bytes())
    report = verify(done, is_rendered_again=True)
    assert outcomes(report, "moved on") == {"adapter west_land"}
    assert outcomes(report, "differs", "cannot be told") == set()  # the store still has the very file
    path.unlink()
    assert outcomes(verify(done), "cannot be told") == {"adapter west_land"}
    path.write_bytes(own)
    assert outcomes(verify(done), "agrees") == {check.name for check in verify(done).checks}


def test_a_lost_store_leaves_less_to_tell(done: Game) -> None:
    shutil.rmtree(done.data.store_root)
    report = verify(done, is_rendered_again=True)
    assert not report.has_lied
    assert "store" in outcomes(report, "cannot be told")
    assert "share kept of west_land" in outcomes(report, "cannot be told")
    assert outcomes(report, "agrees") >= {"pixels", "update of west_land", "adapter west_land", "rendered again"}


def test_a_base_model_that_is_not_here(done: Game) -> None:
    del done.engines.weights["tiny-flux"]
    report = verify(done, is_rendered_again=True)
    assert outcomes(report, "cannot be told") >= {"base model", "tokens", "rendered again"}
    assert not report.has_lied


def test_a_verification_that_measured_less_contradicts(done: Game) -> None:
    context = Context(done.data, done.engines(done.data))
    adapter = context.catalog.adapters["west/west_land"]
    record = adapter_steps_of(context, adapter)["verification"].record
    assert record is not None
    weaker = {**record.info, "fidelity": {**record.info["fidelity"], "share_kept": 0.22}}
    context.store.write_record(record.model_copy(update={"info": weaker}))
    report = verify(done)
    assert outcomes(report, "differs") == {"share kept of west_land"}
    assert detail(report, "share kept of west_land") == "1 → 0.22 by its verification"


# what says nothing, and what is hostile


def test_numbers_that_would_keep_a_machine_busy_are_not_rendered(done: Game, tmp_path: Path) -> None:
    path = forge(done, tmp_path / "a.png", _set("num_inference_steps", 10**9))
    requests = len(done.engines.renderer.requests)
    report = verify(done, path, is_rendered_again=True)
    assert detail(report, "rendered again") == "1000000000 steps at 128 × 96 are not rendered for a check"
    assert len(done.engines.renderer.requests) == requests


BAD: list[tuple[str, Callable[[dict[str, str]], dict[str, str]], str]] = [
    ("no metadata", lambda texts: {}, "does not say what made it"),
    ("of another program", lambda texts: {"Software": "paint"}, "does not say what made it"),
    ("of an older version", lambda t: {k: v for k, v in t.items() if k != PROVENANCE}, "it is of an older version"),
    ("no JSON", lambda texts: {**texts, PROVENANCE: "{"}, "sq.provenance: Invalid JSON"),
    ("a list", lambda texts: {**texts, PROVENANCE: "[]"}, "sq.provenance: Input should be an object"),
    ("deep", lambda texts: {**texts, PROVENANCE: "[" * 100_000}, "sq.provenance: Invalid JSON"),
    ("deep inputs", lambda texts: {**texts, INPUTS: '{"a":' * 100_000}, "sq.inputs: cannot be read"),
    ("a list of inputs", lambda texts: {**texts, INPUTS: "[]"}, "sq.inputs: cannot be read (not an object)"),
    ("NaN", lambda texts: {**texts, INPUTS: '{"a":NaN}'}, "sq.inputs: cannot be read"),
    ("a repeated key", lambda t: {**t, INPUTS: t[INPUTS][:-1] + ',"seed":1}'}, "sq.inputs: cannot be read"),
    ("spaces", lambda t: {**t, PROVENANCE: t[PROVENANCE] + " "}, "sq.provenance: is not written as it should be"),
    ("one more", lambda t: {**t, PROVENANCE: '{"\\u001b[2Jevil":1,' + t[PROVENANCE][1:]}, r"sq.provenance.\x1b[2Jevil"),
    ("a later one", lambda t: {**t, PROVENANCE: t[PROVENANCE].replace('"schema_version":1', '"schema_version":2')},
     "sq.provenance.schema_version: Input should be 1"),
    ("half", lambda t: {k: v for k, v in t.items() if k != STACK}, "sq.stack: is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [item[1:] for item in BAD], ids=[item[0] for item in BAD])
def test_what_cannot_be_read_is_one_line_each(
    change: Callable[[dict[str, str]], dict[str, str]], message: str, done: Game, tmp_path: Path
) -> None:
    png = read_png(picture(done), "sq.")
    assert png.pixels is not None
    (tmp_path / "a.png").write_bytes(encode_png(png.pixels, change(png.texts)))
    with pytest.raises(PictureError) as caught:
        verify(done, tmp_path / "a.png")
    assert message in str(caught.value)
    for fault in caught.value.faults:
        assert str(fault).isprintable()
        assert len(str(fault)) < 1000


def test_a_picture_from_elsewhere_names_no_path_that_is_opened(done: Game, tmp_path: Path) -> None:
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes((done.data.lora_root / "west/landscape.safetensors").read_bytes())

    def point_outside(said: Said) -> None:
        said["adapters"][0] |= {"file": str(secret), "name": "../../x", "file_sha256": "sha256:" + "0" * 64}

    report = verify(done, forge(done, tmp_path / "a.png", point_outside), is_rendered_again=True)
    assert outcomes(report, "cannot be told") >= {"update of ../../x", "rendered again"}
