"""Pictures of every tier: what each is made from, what an edit makes again, a tier that no adapter applies to."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterRunStatus, RunRequest
from PIL import Image

from sq_pipeline.common.errors import SelectionError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import RunReport, bring_up_to_date
from sq_pipeline.defs.sensors.requests import LINE_TAG
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.image import verify_image
from sq_pipeline.settings import load_settings
from sq_pipeline_tests.defs.test_sensors import Ticks, assets
from sq_pipeline_tests.parts import rest_is_long
from sq_pipeline_tests.pipeline.fast import lora, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game

MANIFESTS: dict[Tier, tuple[str, str]] = {
    "portrait": ("portrait_manifest.yaml", "characters"),
    "creature": ("creatures.yaml", "creatures"),
    "scene": ("scene_manifest.yaml", "scenes"),
}
ALL_TIERS = {"old/landscape/mill", "old/landscape/mine", "old/landscape/inn"}
ALL_TIERS |= {"old/portrait/ada", "old/portrait/bo", "old/creature/mule", "old/scene/duel"}


def show(game: Game, tier: Tier, *entries: dict[str, Any], world: str = "old") -> None:
    file, key = MANIFESTS[tier]
    write_yaml(game.data.world_root("west", world) / file, {key: list(entries)})


def settings(game: Game, **changes: Any) -> None:
    import yaml

    path = game.data.settings_file
    write_yaml(path, {**yaml.safe_load(path.read_text()), **changes})


def apply_to(game: Game, *tiers: str) -> None:
    game.edit(
        "visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", applies_to=list(tiers))]}
    )


ADA = {"name": "Ada", "appearance": "a grey braid, a tin star", "culture": "river folk"}
BO = {"name": "Bo", "appearance": "a red scarf"}


def add_cast(game: Game) -> Game:
    """Two people, a creature and a scene in the world `old`."""
    show(game, "portrait", ADA, BO)
    show(game, "creature", {"id": "mule", "description": "a tired mule"})
    show(game, "scene", {"name": "Duel", "description": "two people at noon"})
    apply_to(game, *TIERS)
    return game


@pytest.fixture
def cast(done: Game) -> Game:
    """The small game, up to date, and then with two people, a creature and a scene in the world `old`."""
    return add_cast(done)


@pytest.fixture(scope="module")
def shown_data(finished: DataDir, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """What `cast` is when all of it was made: once, because each test would make the same."""
    data = DataDir(tmp_path_factory.mktemp("shown") / "data")
    shutil.copytree(finished.root, data.root, symlinks=True)
    with open_instance(data) as instance:
        report = add_cast(Game(data, instance)).run()
    assert not report.failed
    assert not report.blocked
    return data


@pytest.fixture
def shown(shown_data: DataDir, tmp_path: Path) -> Iterator[Game]:
    """A copy of it."""
    data = DataDir(tmp_path / "copy")
    shutil.copytree(shown_data.root, data.root, symlinks=True)
    with open_instance(data) as instance:
        yield Game(data, instance)


def rendered(report: RunReport) -> set[str]:
    return {f"{item['world']}/{item['tier']}/{item['poi']}" for item in report.rendered}


def path_of(game: Game, tier: Tier, slug: str) -> Path:
    return game.data.published_image("west", tier, slug)


def said_of(game: Game, tier: Tier, slug: str) -> dict[str, Any]:
    with Image.open(path_of(game, tier, slug)) as image:
        image.load()
        return json.loads(image.text["sq.provenance"])  # type: ignore[attr-defined]


def test_each_tier_gets_its_pictures_and_the_places_stay_as_they_are(cast: Game) -> None:
    before = {path: path.read_bytes() for path in cast.data.genre_root("west").rglob("*.png")}
    report = cast.run()
    assert not report.failed
    assert not report.blocked
    assert rendered(report) == {item for item in ALL_TIERS if "/landscape/" not in item}
    assert {item["path"] for item in report.rendered} == {
        f"content/genre_packs/west/images/{tier}/{slug}.png"
        for tier, slug in (("portrait", "ada"), ("portrait", "bo"), ("creature", "mule"), ("scene", "duel"))
    }
    assert {path: path.read_bytes() for path in before} == before
    assert (cast.plan()["stale"], rendered(cast.run())) == ([], set())


def test_a_tier_has_its_own_size_suffix_stack_and_seed(cast: Game) -> None:
    cast.edit("visual_style.yaml", {"poi_style": "from afar", "portrait_style": "close up", "base_seed": 5})
    portrait_only = lora("west_face", "west/portrait", trigger="west_face", applies_to=["portrait"])
    base = lora("west_land", "west/landscape", trigger="west", applies_to=["landscape", "creature", "scene"])
    cast.edit("visual_style.yaml", {"loras": [base, portrait_only]})
    write_dataset(cast.data.datasets_root / "west/portrait", "west_face", 9)
    report = cast.run()
    assert not report.failed
    assert not report.blocked
    ada, mule = said_of(cast, "portrait", "ada"), said_of(cast, "creature", "mule")
    mill = said_of(cast, "landscape", "mill")
    assert ada["positive_prompt"] == "west_face, Ada: a grey braid, a tin star, river folk, close up, wide"
    assert mule["positive_prompt"] == "west, mule: a tired mule, wide"
    assert mill["positive_prompt"] == "west, a view of Mill, from afar, wide"
    assert [(said["width_px"], said["height_px"]) for said in (ada, mule, mill)] == [(96, 128), (112, 112), (128, 96)]
    assert [said["adapters"][0]["name"] for said in (ada, mule, mill)] == ["west_face", "west_land", "west_land"]
    assert len({ada["seed"], mule["seed"], mill["seed"]}) == 3


EDITS: list[tuple[str, Any, set[str]]] = [
    ("one person", lambda game: show(game, "portrait", {**ADA, "appearance": "a black braid"}, BO), {"portrait/ada"}),
    ("a culture", lambda game: show(game, "portrait", {**ADA, "culture": "hill folk"}, BO), {"portrait/ada"}),
    ("a person more", lambda game: show(game, "portrait", ADA, BO, {"name": "Cy", "appearance": "bald"}),
     {"portrait/cy"}),
    ("a role", lambda game: show(game, "portrait", {**ADA, "role": "sheriff"}, BO), {"portrait/ada"}),
    ("a key of the game", lambda game: show(game, "portrait", {**ADA, "archetype": "sheriff"}, BO), set()),
    ("the other order", lambda game: show(game, "portrait", BO, ADA), set()),
    ("the portraits' suffix", lambda game: game.edit("visual_style.yaml", {"portrait_style": "close up"}),
     {"portrait/ada", "portrait/bo"}),
    ("the creatures' suffix", lambda game: game.edit("visual_style.yaml", {"creature_style": "in full"}),
     {"creature/mule"}),
    ("the scenes' size", lambda game: settings(game, tiers={"scene": {"size_px": [160, 96]}}), {"scene/duel"}),
    ("the scenes' steps", lambda game: settings(game, tiers={"scene": {"num_inference_steps": 6}}), {"scene/duel"}),
    ("the size that it has anyway", lambda game: settings(game, tiers={"scene": {"size_px": [128, 96]}}), set()),
    ("a tier less", lambda game: show(game, "portrait"), set()),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", rest_is_long(EDITS, "one person", "the portraits' suffix", "the scenes' size", name=lambda case: case[0])
)
def test_an_edit_makes_exactly_its_pictures_again(shown: Game, case: tuple[str, Any, set[str]]) -> None:
    _, edit, wanted = case
    edit(shown)
    promised = {step["asset"] for step in shown.plan()["stale"] if "_images:" in step["asset"]}
    assert promised == {f"west/worlds/old/{tier}_images:{slug}" for tier, slug in (item.split("/") for item in wanted)}
    report = shown.run()
    assert rendered(report) == {f"old/{item}" for item in wanted}
    assert (report.trained, report.verified, report.failed, report.blocked) == ([], [], [], [])
    assert shown.plan()["stale"] == []


def test_one_tier_alone(cast: Game) -> None:
    report = bring_up_to_date(cast.data, cast.instance, None, cast.said.append, cast.engines, tier="portrait")
    assert rendered(report) == {"old/portrait/ada", "old/portrait/bo"}
    assert rendered(cast.run()) == {"old/creature/mule", "old/scene/duel"}
    with pytest.raises(
        SelectionError, match=r"--tier: there is no tier 'potrait'.*landscape, portrait, creature, scene"
    ):
        bring_up_to_date(cast.data, cast.instance, None, cast.said.append, cast.engines, tier="potrait")


def test_a_picture_of_any_tier_can_be_checked(shown: Game) -> None:
    context = Context(shown.data, shown.engines(shown.data))
    report = verify_image(context, path_of(shown, "portrait", "ada"))
    assert not report.has_lied
    assert {check.name: check.outcome for check in report.checks}["what would be made now"] == "agrees"
    show(shown, "portrait", {**ADA, "appearance": "bald"}, BO)
    context = Context(shown.data, shown.engines(shown.data))
    checks = {check.name: check for check in verify_image(context, path_of(shown, "portrait", "ada")).checks}
    assert checks["what would be made now"].outcome == "moved on"


def test_what_is_gone_from_a_manifest_is_archived(shown: Game) -> None:
    kept = path_of(shown, "portrait", "bo").read_bytes()
    show(shown, "portrait", BO)
    shown.run()
    assert not path_of(shown, "portrait", "ada").exists()
    assert (shown.data.genre_root("west") / "images/archive/ada.png").is_file()
    assert path_of(shown, "portrait", "bo").read_bytes() == kept


def test_a_place_and_a_person_may_share_a_name(cast: Game) -> None:
    show(cast, "portrait", {"name": "Mill", "appearance": "a miller"})
    before = path_of(cast, "landscape", "mill").read_bytes()
    assert "old/portrait/mill" in rendered(cast.run())
    assert path_of(cast, "landscape", "mill").read_bytes() == before
    assert path_of(cast, "portrait", "mill").read_bytes() != before
    assert cast.plan()["stale"] == []


def test_a_deleted_portrait_is_made_again_identical(shown: Game) -> None:
    path = path_of(shown, "portrait", "ada")
    before = path.read_bytes()
    path.unlink()
    assert [step["reasons"] for step in shown.plan()["stale"]] == [[f"{shown.data.relative(path)} is gone"]]
    shown.run()
    assert path.read_bytes() == before


def test_a_faulty_manifest_stops_its_tier_and_nothing_else(shown: Game) -> None:
    before = {path: path.read_bytes() for path in shown.data.genre_root("west").rglob("*.png")}
    manifest = shown.data.world_root("west", "old") / "portrait_manifest.yaml"
    manifest.write_text("characters: [{name: Ada, appearance: [tall]}, {name: Bo}]\n")
    apply_to(shown, "landscape", "portrait", "creature", "scene")
    shown.edit("visual_style.yaml", {"poi_style": "from afar"})
    report = shown.run()
    assert {item for item in rendered(report) if item.startswith("old/")} == {
        "old/landscape/mill",
        "old/landscape/mine",
        "old/landscape/inn",
    }
    assert report.blocked == []
    told = [item["reason"] for item in report.failed]
    assert len(told) == 2
    assert "characters[0].appearance: is a list" in told[0]
    assert "characters[1].visual_prompt: 'Bo' has neither visual_prompt nor appearance" in told[1]
    assert {path: path.read_bytes() for path in before if "/portrait/" in str(path)} == {
        path: content for path, content in before.items() if "/portrait/" in str(path)
    }
    portraits = shown.instance.get_dynamic_partitions("persons/west/old")
    assert portraits == ["ada", "bo"]
    node = (
        build_defs(data=shown.data, make_engines=shown.engines)
        .resolve_asset_graph()
        .get(AssetKey(["west", "worlds", "old", "portrait_stack"]))
    )
    assert "What is wrong with this world" in str(node.description)
    show(shown, "portrait", ADA, BO)
    assert rendered(shown.run()) == set()


# a tier that no adapter applies to


def test_a_tier_without_an_adapter_is_an_error_that_names_both_ways_out(cast: Game) -> None:
    apply_to(cast, "landscape")
    show(cast, "creature")
    show(cast, "scene")
    report = cast.run()
    assert rendered(report) == set()
    assert report.failed == []
    (blocked,) = report.blocked
    assert blocked["asset"] == "west/worlds/old/portrait_stack"
    assert blocked["reason"] == (
        "no adapter of west/old applies to the tier portrait; add portrait to an `applies_to`, "
        "or write `missing_adapter: none` in sq.yaml"
    )
    assert {step["asset"] for step in cast.plan()["blocked"]} >= {"west/worlds/old/portrait_images:ada"}


def test_it_may_be_chosen(cast: Game) -> None:
    apply_to(cast, "landscape")
    settings(cast, missing_adapter="none")
    report = cast.run()
    assert rendered(report) == {item for item in ALL_TIERS if "/landscape/" not in item}
    assert said_of(cast, "portrait", "ada")["adapters"] == []
    # and taking the choice back makes nothing, and says so
    settings(cast, missing_adapter="error")
    assert rendered(cast.run()) == set()
    assert len(cast.plan()["blocked"]) > 0


def test_what_a_world_excludes_by_name_it_does_without(done: Game) -> None:
    write_yaml(done.data.world_root("west", "paper") / "visual_style.yaml", {"loras": {"exclude": ["west_land"]}})
    report = done.run()
    assert rendered(report) == {"paper/landscape/gate", "paper/landscape/dock"}
    assert said_of(done, "landscape", "gate")["adapters"] == []


def test_an_adapter_of_another_tier_only_is_no_adapter_for_places(done: Game) -> None:
    apply_to(done, "portrait")
    report = done.run("west/old")
    assert rendered(report) == set()
    assert [item["asset"] for item in report.blocked] == ["west/worlds/old/stack"]


def test_a_genre_has_adapters_even_where_every_world_excludes_them(done: Game) -> None:
    apply_to(done, "portrait")
    for world in ("old", "paper"):
        write_yaml(done.data.world_root("west", world) / "visual_style.yaml", {"loras": {"exclude": ["west_land"]}})
    report = done.run()
    assert rendered(report) == set()
    assert [item["asset"] for item in report.blocked] == ["west/worlds/old/stack", "west/worlds/paper/stack"]


def test_a_genre_without_any_adapter_needs_no_choice(done: Game) -> None:
    write_yaml(done.data.genre_root("sea") / "portrait_manifest.yaml", {"characters": [BO]})
    report = done.run("sea/default")
    assert {item["path"] for item in report.rendered} == {"content/genre_packs/sea/images/portrait/bo.png"}


def test_a_guidance_that_the_model_does_not_take_is_told(cast: Game) -> None:
    settings(cast, tiers={"portrait": {"guidance": 3.0}})
    report = cast.run()
    assert "old/scene/duel" in rendered(report)
    reasons = {item["asset"]: item["reason"] for item in report.blocked}
    assert reasons["west/worlds/old/portrait_images:ada"] == (
        "sq.yaml: tiers.portrait.guidance: tiny-flux takes none; remove it"
    )
    assert load_settings(cast.data).tiers["portrait"].guidance == 3.0


# in Dagster


def test_each_tier_has_its_assets_and_hangs_on_its_own_adapters(cast: Game) -> None:
    face = lora("west_face", "west/portrait", trigger="west_face", applies_to=["portrait"])
    land = lora("west_land", "west/landscape", trigger="west", applies_to=["landscape", "creature", "scene"])
    cast.edit("visual_style.yaml", {"loras": [land, face]})
    graph = build_defs(data=cast.data, make_engines=cast.engines).resolve_asset_graph()

    def parents(name: str) -> set[str]:
        """What it is made from, beside its own inputs."""
        found = {key.to_user_string() for key in graph.get(AssetKey(name.split("/"))).parent_keys}
        return found - {f"{name}_inputs"}

    world = "west/worlds/old"
    assert parents(f"{world}/portrait_stack") == {"west/loras/west_face/promoted_adapter"}
    assert parents(f"{world}/stack") == {"west/loras/west_land/promoted_adapter"}
    assert parents(f"{world}/portrait_images") == {f"{world}/portrait_stack", f"{world}/portrait_prompts"}
    assert parents(f"{world}/portrait_gallery") == {f"{world}/portrait_images"}
    assert graph.get(AssetKey(f"{world}/creature_images".split("/"))).partitions_def is not None


def test_the_sensor_asks_for_each_tier_by_itself(shown: Game) -> None:
    ticks = Ticks(shown)
    show(shown, "portrait", {**ADA, "appearance": "a black braid"}, BO)
    ((request,), _) = ticks.tick("content")
    assert request.tags[LINE_TAG] == "west/worlds/old/portrait"
    assert assets(request) == ["west/worlds/old/portrait_images", "west/worlds/old/portrait_prompts"]
    tags = {key: value for key, value in request.tags.items() if key.startswith("dagster/asset_partition")}
    assert tags == {"dagster/asset_partition_range_start": "ada", "dagster/asset_partition_range_end": "ada"}
    # a run at the portraits leaves the places free, and the other way round
    ticks.pretend(request, DagsterRunStatus.NOT_STARTED)
    shown.edit("visual_style.yaml", {"poi_style": "from afar"})
    requests, _ = ticks.tick("content")
    assert [request.tags[LINE_TAG] for request in requests] == ["west/worlds/old", "west/worlds/paper"]


def test_a_persons_run_at_a_tier_is_not_doubled(shown: Game) -> None:
    ticks = Ticks(shown)
    show(shown, "portrait", {**ADA, "appearance": "a black braid"}, BO)
    ((request,), _) = ticks.tick("content")
    ticks.pretend(RunRequest(asset_selection=request.asset_selection), DagsterRunStatus.NOT_STARTED)
    requests, told = ticks.tick("content")
    assert not requests
    assert "is at it" in told


def test_the_sensor_removes_the_partitions_of_a_tier_that_is_shown_no_more(shown: Game) -> None:
    ticks = Ticks(shown)
    show(shown, "portrait")
    ticks.tick("content")
    assert shown.instance.get_dynamic_partitions("persons/west/old") == []
