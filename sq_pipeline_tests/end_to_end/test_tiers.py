"""Pictures of every tier with the real engines: a person, a creature and a scene beside the places of the demo."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import Tier
from sq_pipeline_tests.end_to_end.conftest import run_command

pytestmark = [pytest.mark.long, pytest.mark.takes(s=30)]

WORLD = "neon_tides/harbour_of_glass"
SHOWN: dict[Tier, tuple[str, str, tuple[int, int]]] = {
    "portrait": (
        "the_keeper",
        "neon_tides, The Keeper: keeper, a lighthouse on the cliff at night, harbour folk",
        (96, 128),
    ),
    "creature": ("iron_whale", "neon_tides, iron whale: a sailing ship on the lake at night", (112, 112)),
    "scene": ("lights_out", "neon_tides, a windmill in the meadow at dusk, from the water", (128, 96)),
}


@pytest.fixture
def cast(copy: DataDir) -> DataDir:
    genre = copy.genre_root("neon_tides")
    style = genre / "visual_style.yaml"
    text = style.read_text().replace("applies_to: [landscape]", "applies_to: [landscape, portrait, creature, scene]")
    style.write_text(f"{text}\nscene_style: from the water\n")
    keeper = "{name: The Keeper, role: keeper, appearance: a lighthouse on the cliff at night, culture: harbour folk}"
    files = {
        "portrait_manifest.yaml": f"characters: [{keeper}]\n",
        "creatures.yaml": "creatures: [{id: iron_whale, description: a sailing ship on the lake at night}]\n",
        "scene_manifest.yaml": "scenes: [{name: Lights Out, visual_prompt: a windmill in the meadow at dusk}]\n",
    }
    for name, content in files.items():
        (genre / "worlds/harbour_of_glass" / name).write_text(content)
    return copy


def pictures(data: DataDir) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in data.packs_root.rglob("*.png")}


def test_each_tier_is_rendered_and_the_places_stay_untouched(cast: DataDir) -> None:
    before = pictures(cast)
    plan = run_command("plan", "--tier", "portrait", "--json", "--data", cast.root).report
    assert [step["asset"].rpartition("/")[2] for step in plan["stale"]] == [
        "portrait_stack",
        "portrait_prompts:the_keeper",
        "portrait_images:the_keeper",
        "portrait_gallery",
    ]
    one = run_command("run", "--tier", "portrait", "--json", "--data", cast.root).report
    assert [item["tier"] for item in one["rendered"]] == ["portrait"]
    rest = run_command("run", "--world", WORLD, "--json", "--data", cast.root).report
    assert [item["tier"] for item in rest["rendered"]] == ["creature", "scene"]
    assert rest["model_loads"] == 1
    assert one["failed"] == one["blocked"] == rest["failed"] == rest["blocked"] == []
    after = pictures(cast)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 3
    for tier, (slug, prompt, size) in SHOWN.items():
        with Image.open(cast.published_image("neon_tides", tier, slug)) as image:
            image.load()
            said = json.loads(image.text["sq.provenance"])  # type: ignore[attr-defined]
            assert image.size == size
        assert said["positive_prompt"].startswith(prompt)
        assert said["tier"] == tier
        assert [(used["name"], used["keys_matched"], used["layers_patched"]) for used in said["adapters"]] == [
            ("neon_tides_landscape", 64, 52)
        ]
    rows = run_command("prompts", "--tier", "creature", "--json", "--data", cast.root).report["prompts"]
    assert [(row["poi"], row["tier"], row["sha256"]) for row in rows] == [
        ("iron_whale", "creature", rest["rendered"][0]["sha256"])
    ]
    path = cast.published_image("neon_tides", "portrait", "the_keeper")
    answer = run_command("verify-image", path, "--render", "--json", "--data", cast.root)
    assert answer.code == 0, answer.out
    assert {check["outcome"] for check in answer.report["checks"]} == {"agrees"}
    assert run_command("plan", "--json", "--data", cast.root).report["stale"] == []


def test_a_tier_without_an_adapter_is_not_rendered_unless_it_is_wanted(cast: DataDir) -> None:
    style = cast.genre_root("neon_tides") / "visual_style.yaml"
    style.write_text(style.read_text().replace("[landscape, portrait, creature, scene]", "[landscape]"))
    answer = run_command("run", "--tier", "portrait", "--data", cast.root)
    assert answer.code == 1
    assert "no adapter of neon_tides/harbour_of_glass applies to the tier portrait" in answer.out
    assert not cast.published_image("neon_tides", "portrait", "the_keeper").exists()
    settings = cast.settings_file
    settings.write_text(f"{settings.read_text()}\nmissing_adapter: none\n")
    report = run_command("run", "--tier", "portrait", "--json", "--data", cast.root).report
    assert [item["poi"] for item in report["rendered"]] == ["the_keeper"]


def test_an_unknown_tier(cast: DataDir) -> None:
    for command in ("plan", "run", "prompts"):
        answer = run_command(command, "--tier", "potrait", "--data", cast.root)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.strip() == (
            "error: --tier: there is no tier 'potrait'; use one of landscape, portrait, creature, scene"
        )
