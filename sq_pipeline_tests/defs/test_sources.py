"""Sources as assets: what Dagster shows as stale is what `plan` says, partition by partition, with the sensors off."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster import AssetKey, AssetMaterialization, DagsterInstance, Definitions, build_sensor_context

from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.pipeline.adapters.promote import promote
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.kept import put_chosen
from sq_pipeline_tests.defs.staleness import stale_in_dagster
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import chapter, lora, poi, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_choices_file import line, write


def load(game: Game) -> Definitions:
    return build_defs(data=game.data, make_engines=game.engines)


def stale_in_plan(game: Game) -> set[str]:
    return {step["asset"] for step in game.plan()["stale"]}


def observe(game: Game, defs: Definitions) -> None:
    """What the pages' button “Observe” on any source does."""
    job = defs.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(instance=game.instance, asset_selection=[AssetKey("sq_yaml")])
    assert done.success


def burn_the_mill(game: Game, prompt: str = "a burnt mill") -> None:
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", prompt), poi("Mine"), poi("Inn"))]})


def test_a_finished_game_is_all_fresh(done: Game) -> None:
    defs = load(done)
    assert stale_in_dagster(defs, done.instance) == set()
    observe(done, defs)
    assert stale_in_dagster(defs, done.instance) == set()


def test_an_edit_and_its_undoing(done: Game) -> None:
    defs = load(done)
    burn_the_mill(done)
    observe(done, defs)
    told = stale_in_dagster(defs, done.instance)
    assert told == stale_in_plan(done)
    assert "west/worlds/old/poi_images:mill" in told
    assert "west/worlds/old/poi_images:mine" not in told
    burn_the_mill(done, poi("Mill")["visual_prompt"])
    assert stale_in_plan(done) == set()
    observe(done, defs)
    assert stale_in_dagster(defs, done.instance) == set()


def _lose_a_picture(game: Game) -> None:
    (game.data.genre_root("west") / "images/poi/mine.png").unlink()


def _paint_over_a_picture(game: Game) -> None:
    (game.data.genre_root("west") / "images/poi/mine.png").write_bytes(b"mine")


def _dataset(game: Game) -> None:
    write_dataset(game.data.datasets_root / "west/landscape", "west", 9)


def _recipe(game: Game) -> None:
    path = game.data.datasets_root / "west/landscape/lora.yaml"
    path.write_text(path.read_text().replace("rank: 1", "rank: 2"))


def _threshold(game: Game) -> None:
    write_yaml(game.data.settings_file, {"thresholds": {"ssim_trigger_max": 0.9}})


def _verify_prompts(game: Game) -> None:
    folder = game.data.verify_prompts_root
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    folder.unlink()  # a link to what is shipped
    folder.mkdir()
    texts["landscape.yaml"] = texts["landscape.yaml"].replace("prompt: ", "prompt: wide ", 1)
    for name, text in texts.items():
        (folder / name).write_text(text)


def _gate(game: Game) -> None:
    """Limits of one's own over these weights."""
    limits = {"style_share": {"limit": 0.1, "nothing": 0.0, "good": 0.5}}
    calibration = {"base_weights": game.engines.weights["tiny-flux"], "tiers": {"landscape": limits}}
    if game.data.gate_root.is_symlink():
        game.data.gate_root.unlink()
    write_yaml(game.data.gate_root / "tiny-flux.yaml", {"base_model": "tiny-flux", **calibration})


def _own_seed(game: Game) -> None:
    places = [{**poi("Mill"), "seed": 7}, poi("Mine"), poi("Inn")]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


def _draft(game: Game) -> None:
    places = [{**poi("Mill"), "draft": True}, poi("Mine"), poi("Inn")]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


def _picked(game: Game) -> None:
    write(game, line(take=2, seed=8))


def _locked_and_reworded(game: Game) -> None:
    """Nothing is to be made of it but the prompt, which a kept picture does not read."""
    content = (game.data.genre_root("west") / "images/poi/mill.png").read_bytes()
    put_chosen(Context(game.data, game.engines(game.data)), "west", "mill", content)
    write(game, line(act="lock", take="", seed="", file_sha256=hash_bytes(content)))
    burn_the_mill(game)


def _choices_that_cannot_be_read(game: Game) -> None:
    game.data.picture_choices("west").write_text("choices: 7\n")


def _weights(game: Game) -> None:
    game.engines.weights["tiny-flux"] = "sha256:" + "1" * 64


def _renderer(game: Game) -> None:
    game.engines.renderer_versions["fake"] = "2"


def _suffix(game: Game) -> None:
    game.edit("visual_style.yaml", {"positive_suffix": "very wide"})


def _scale(game: Game) -> None:
    game.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", scale=0.5)]})


def _new_place(game: Game) -> None:
    places = [poi("Mill"), poi("Mine"), poi("Inn"), poi("Ford")]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


def _removed_place(game: Game) -> None:
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Inn"))]})


def _faulty_place(game: Game) -> None:
    places = [poi("Mill", "a burnt mill"), poi("Mine"), {"visual_prompt": 7}]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


def _broken_file(game: Game) -> None:
    (game.data.genre_root("west") / "worlds/old/history.yaml").write_text("chapters: [")


EDITS: list[Callable[[Game], None]] = [
    burn_the_mill, _lose_a_picture, _paint_over_a_picture, _dataset, _recipe, _threshold, _verify_prompts, _weights,
    _gate, _own_seed, _draft, _picked, _locked_and_reworded, _choices_that_cannot_be_read, _renderer, _suffix,
    _scale, _new_place, _removed_place, _faulty_place, _broken_file,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
def test_after_an_edit_dagster_shows_what_the_plan_says_and_after_a_run_again(
    done: Game, edit: Callable[[Game], None]
) -> None:
    edit(done)
    defs = load(done)
    observe(done, defs)
    told = stale_in_dagster(defs, done.instance)
    assert told == stale_in_plan(done)
    assert bool(told) != (
        edit in (_paint_over_a_picture, _broken_file, _choices_that_cannot_be_read)
    )  # these wait for a person
    done.run()
    assert stale_in_dagster(defs, done.instance) == stale_in_plan(done)


def test_what_a_person_makes_in_the_pages_is_fresh_and_nothing_else(done: Game) -> None:
    """No sensor, no command: the run itself tells what it was made from."""
    places = [poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn", "a closed inn")]
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})
    defs = load(done)
    observe(done, defs)
    job = defs.resolve_implicit_global_asset_job_def()
    world = "west/worlds/old"
    keys = [AssetKey(f"{world}/{name}".split("/")) for name in ("prompts", "poi_images")]
    assert job.execute_in_process(instance=done.instance, asset_selection=keys, partition_key="mill").success
    assert stale_in_dagster(defs, done.instance) == stale_in_plan(done)
    assert stale_in_plan(done) == {f"{world}/prompts:inn", f"{world}/poi_images:inn", f"{world}/gallery"}


def materialized(instance: DagsterInstance, defs: Definitions) -> set[str]:
    """What the pages show as there."""
    found: set[str] = set()
    for key in defs.resolve_asset_graph().materializable_asset_keys:
        if defs.resolve_asset_graph().get(key).partitions_def is None:
            found |= {key.to_user_string()} if instance.get_latest_materialization_event(key) else set()
        else:
            found |= {f"{key.to_user_string()}:{slug}" for slug in instance.get_materialized_partitions(key)}
    return found


def test_a_lost_instance_is_filled_again_from_the_store(finished: DataDir, tmp_path: Path) -> None:
    data = DataDir(tmp_path / "copy")
    shutil.copytree(finished.root, data.root, symlinks=True)
    with open_instance(data) as instance:
        defs = load(Game(data, instance))
        before = materialized(instance, defs)
        assert len(before) == 2 * 6 + 2 * 2 + 2 * 5
    shutil.rmtree(data.dagster_home)
    with open_instance(data) as instance:
        game = Game(data, instance)
        assert materialized(instance, defs) == set()
        report = game.run()
        assert (report.rendered, report.trained, report.verified) == ([], [], [])
        assert materialized(instance, defs) == before
        assert stale_in_dagster(defs, instance) == set()
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            list(defs.resolve_asset_graph().asset_check_keys)
        )
        assert {check.status.value for check in checks.values()} == {"SUCCEEDED"}
        burn_the_mill(game)
        observe(game, defs)
        assert stale_in_dagster(defs, instance) == stale_in_plan(game)


def test_a_tick_tells_too_and_little_at_a_time(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.defs.sensors.content._TOLD_A_TICK", 2)
    _suffix(done)
    defs = load(done)
    sensor = defs.resolve_sensor_def("content")

    def tick() -> None:
        sensor.evaluate_tick(build_sensor_context(instance=done.instance, repository_def=defs.get_repository_def()))

    tick()
    some = stale_in_dagster(defs, done.instance)
    assert 0 < len(some) < len(stale_in_plan(done))
    for _ in range(8):
        tick()
    assert stale_in_dagster(defs, done.instance) == stale_in_plan(done)


def test_a_persons_yes_on_the_command_line_reaches_the_pages(game: Game) -> None:
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    game.run()
    context = Context(game.data, game.engines(game.data))
    for adapter in context.catalog.adapters.values():
        promote(context, adapter, "Ada")
    defs = load(game)
    observe(game, defs)
    assert "west/loras/west_land/promoted_adapter" not in stale_in_dagster(defs, game.instance)
    assert stale_in_dagster(defs, game.instance) == stale_in_plan(game)


def test_an_instance_of_an_older_version_is_told_what_its_assets_were_made_from(
    done: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Materializations of before name no data versions upstream; a run tells of all once more, and makes nothing."""
    defs = load(done)
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        done.instance.wipe_assets([key])
    for key in graph.external_asset_keys:
        done.instance.wipe_assets([key])
    for key in graph.materializable_asset_keys:
        partitions = graph.get(key).partitions_def
        slugs = [None] if partitions is None else partitions.get_partition_keys(dynamic_partitions_store=done.instance)
        for slug in slugs:
            done.instance.report_runless_asset_event(AssetMaterialization(key, partition=slug))
    done.instance.daemon_cursor_storage.set_cursor_values(
        {f"sq/told {name}": "" for name in ("west/worlds/old landscape", "west/worlds/paper landscape")}
        | {f"sq/told west/loras/{name}": "" for name in ("west_land", "paper_land")}
    )
    burn_the_mill(done)
    observe(done, defs)
    assert stale_in_dagster(defs, done.instance) == stale_in_plan(done)


def test_the_lineage_begins_at_what_people_write(done: Game) -> None:
    graph = load(done).resolve_asset_graph()

    def begins(asset: str) -> set[str]:
        found, todo = set[str](), [AssetKey(asset.split("/"))]
        while todo:
            node = graph.get(todo.pop())
            if node.is_external and not node.parent_keys:
                found.add(node.key.to_user_string())
            todo += node.parent_keys
        return found

    assert begins("west/worlds/old/prompts") == {"west/worlds/old/yaml", "west/visual_style", "base_models/tiny_flux"}
    adapter = {"west/loras/west_land/dataset_folder", "keymaps", "verify_prompts/landscape", "sq_yaml"}
    assert adapter <= begins("west/loras/west_land/promoted_adapter")
    assert adapter <= begins("west/worlds/old/poi_images")
    assert not any("paper" in name for name in begins("west/worlds/old/poi_images"))
    assert "west/choices" in begins("west/worlds/old/poi_images")


def test_a_fault_of_the_settings_is_shown_on_their_asset(done: Game) -> None:
    defs = load(done)
    done.data.settings_file.write_text("- a\n")
    observe(done, defs)
    (record,) = done.instance.fetch_observations(AssetKey("sq_yaml"), limit=1).records
    assert record.asset_observation is not None
    assert "sq.yaml" in str(record.asset_observation.metadata["fault"].value)


def test_a_fault_of_a_world_is_shown_on_its_yaml(done: Game) -> None:
    _faulty_place(done)
    defs = load(done)
    job = defs.resolve_implicit_global_asset_job_def()
    key = AssetKey("west/worlds/old/yaml".split("/"))
    assert job.execute_in_process(instance=done.instance, asset_selection=[key]).success
    (record,) = done.instance.fetch_observations(key, limit=1).records
    assert record.asset_observation is not None
    assert "history.yaml" in str(record.asset_observation.metadata["fault"].value)


def test_a_fault_of_the_choices_is_shown_on_their_asset(done: Game) -> None:
    write(done, line(act="lok"))
    key = AssetKey(["west", "choices"])
    job = load(done).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=done.instance, asset_selection=[key]).success
    (record,) = done.instance.fetch_observations(key, limit=1).records
    assert record.asset_observation is not None
    assert "did you mean lock?" in str(record.asset_observation.metadata["fault"].value)


def test_an_observation_says_what_changed(done: Game) -> None:
    defs = load(done)
    burn_the_mill(done)
    observe(done, defs)
    key = AssetKey("west/worlds/old/poi_images_inputs".split("/"))
    (record,) = done.instance.fetch_observations(key, limit=1).records
    assert record.partition_key == "mill"
    assert record.asset_observation is not None
    assert "burnt" in str(record.asset_observation.metadata["reasons"].value)
