"""One flipped bit in the store, and a lost index, at the command line with the real engines."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.cases.damages import flip_a_bit
from sq_pipeline_tests.end_to_end.conftest import run_command

pytestmark = [pytest.mark.long, pytest.mark.takes(s=60)]

LORA = "spaghetti_western/loras/the_real_mccoy_landscape"
RUN = ("trained", "remapped", "verified", "rendered")


def object_of(data: DataDir, asset: str, name: str) -> Path:
    query = "SELECT objects FROM current JOIN records USING (kind, fingerprint) WHERE asset = ?"
    with closing(sqlite3.connect(data.store_root / "records.sqlite")) as connection:
        (objects,) = connection.execute(query, (asset,)).fetchone()
    return data.store_root / "objects" / json.loads(objects)[name]["name"]


def edit_a_prompt(data: DataDir) -> None:
    history = data.world_root("spaghetti_western", "the_real_mccoy") / "history.yaml"
    history.write_text(history.read_text().replace("visual_prompt: ", "visual_prompt: a burnt ", 1))


def given_out(data: DataDir) -> dict[str, str]:
    found = [path for name in ("*.png", "*.safetensors") for path in data.content_root.rglob(name)]
    return {data.relative(path): hash_file(path) for path in found}


def made(report: dict[str, list[object]]) -> dict[str, int]:
    return {name: len(report[name]) for name in RUN if report[name]}


def test_a_flipped_bit_in_an_adapter_reaches_no_picture(copy: DataDir, tmp_path: Path) -> None:
    sound = DataDir(tmp_path / "sound")
    shutil.copytree(copy.root, sound.root)
    damaged = object_of(copy, f"{LORA}/mflux_adapter", "adapter")
    flip_a_bit(damaged)
    for data in (copy, sound):
        edit_a_prompt(data)
    planned = run_command("plan", "--data", copy.root, "--json")
    name = damaged.relative_to(copy.root).as_posix()
    assert f"{name} holds other bytes than were kept" in planned.out
    assert name in planned.err
    answers = [run_command("run", "--data", data.root, "--json") for data in (copy, sound)]
    assert [answer.code for answer in answers] == [0, 0]
    assert [made(answer.report) for answer in answers] == [{"rendered": 1}] * 2
    assert f"{name} holds other bytes than were kept; put back from content/lora/" in answers[0].err
    assert given_out(copy) == given_out(sound)
    picture = copy.root / answers[0].report["rendered"][0]["path"]
    told = run_command("verify-image", picture, "--render", "--data", copy.root, "--json")
    assert (told.code, told.report["has_moved_on"]) == (0, False)
    # what is damaged since then is found by the picture that states its hash
    flip_a_bit(damaged)
    told = run_command("verify-image", picture, "--data", copy.root, "--json")
    assert told.code == 1
    assert {check["name"] for check in told.report["checks"] if check["outcome"] == "differs"} == {
        f"adapter {LORA.rpartition('/')[2]}"
    }


def test_a_training_is_made_again_only_where_nothing_sound_is_left(copy: DataDir) -> None:
    before = given_out(copy)
    flip_a_bit(object_of(copy, f"{LORA}/mlx_adapter", "loss_curve"))
    report = run_command("run", "--data", copy.root, "--json").report
    assert made(report) == {}
    flip_a_bit(object_of(copy, f"{LORA}/mlx_adapter", "adapter"))
    report = run_command("run", "--data", copy.root, "--json").report
    assert made(report) == {"trained": 1}
    assert given_out(copy) == before
    assert run_command("plan", "--data", copy.root, "--json").report["stale"] == []


def test_a_lost_index_costs_nothing(copy: DataDir) -> None:
    (copy.store_root / "records.sqlite").unlink()
    planned = run_command("plan", "--data", copy.root, "--json")
    assert planned.report["stale"] == []
    (line,) = planned.err.splitlines()
    assert line.startswith("store/records.sqlite was gone or damaged; it is made again from ")
    (copy.store_root / "records.sqlite").write_bytes(b"")
    report = run_command("run", "--data", copy.root, "--json").report
    assert made(report) == {}
    assert report["failed"] == report["blocked"] == report["waiting"] == []
