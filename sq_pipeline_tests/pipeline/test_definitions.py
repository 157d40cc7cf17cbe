"""The asset graph: made from the content, telling the truth about it, and always loading."""

from itertools import pairwise

import pytest
from dagster import AssetKey, DagsterInstance, Definitions

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.partitions import sync_partitions
from sq_pipeline_tests.pipeline.fast import FastEngines, chapter, lora, poi, write_game, write_yaml

WORLD_ASSETS = ("stack", "prompts", "poi_images", "gallery")
STEPS = ["training_dataset", "mlx_adapter", "chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter"]


@pytest.fixture
def game(data: DataDir) -> DataDir:
    write_game(data)
    return data


def load(data: DataDir) -> Definitions:
    return build_defs(data=data, make_engines=FastEngines())


def parents(defs: Definitions, name: str) -> set[str]:
    """What it is made from, beside its own inputs."""
    graph = defs.resolve_asset_graph()
    found = {key.to_user_string() for key in graph.get(AssetKey(name.split("/"))).parent_keys}
    assert f"{name}_inputs" in found
    return found - {f"{name}_inputs"}


def keys(defs: Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def test_keys_are_those_of_the_design(game: DataDir) -> None:
    wanted = {f"west/loras/{name}/{step}" for name in ("west_land", "paper_land") for step in STEPS}
    wanted |= {f"west/worlds/{world}/{name}" for world in ("old", "paper") for name in WORLD_ASSETS}
    loaded = keys(load(game))
    assert {name for name in loaded if name.rpartition("/")[2] in {*STEPS, *WORLD_ASSETS}} == wanted
    # each stands on what it is made from, and that on the sources
    wanted |= {f"{name}_inputs" for name in wanted}
    wanted |= {"sq_yaml", "keymaps", "verify_prompts/landscape", "base_models/tiny_flux", "gate/tiny_flux"}
    wanted |= {"west/visual_style", "west/choices"}
    wanted |= {f"west/worlds/{world}/yaml" for world in ("old", "paper")}
    assert loaded == wanted | {f"west/loras/{name}/dataset_folder" for name in ("west_land", "paper_land")}


def test_lineage_follows_the_content(game: DataDir) -> None:
    """A world that excludes an adapter does not hang on it."""
    defs = load(game)
    assert parents(defs, "west/worlds/old/stack") == {"west/loras/west_land/promoted_adapter"}
    assert parents(defs, "west/worlds/paper/stack") == {"west/loras/paper_land/promoted_adapter"}
    assert parents(defs, "west/worlds/old/poi_images") == {"west/worlds/old/stack", "west/worlds/old/prompts"}
    assert parents(defs, "west/worlds/old/gallery") == {"west/worlds/old/poi_images"}
    line = "west/loras/west_land"
    for before, after in pairwise(STEPS):
        # a verification holds the remapped adapter against the trained one; checkpoints are scored on held-out pictures
        # a verification holds its pictures against the dataset's
        also = {"verification": {"chosen_checkpoint", "training_dataset"}, "chosen_checkpoint": {"training_dataset"}}
        wanted = {before, *also.get(after, ())}
        assert parents(defs, f"{line}/{after}") == {f"{line}/{step}" for step in wanted}


def test_pictures_are_partitioned_by_place(game: DataDir) -> None:
    graph = load(game).resolve_asset_graph()
    for name in ("prompts", "poi_images"):
        partitions = graph.get(AssetKey(["west", "worlds", "old", name])).partitions_def
        assert partitions is not None
        with DagsterInstance.ephemeral() as instance:
            sync_partitions(read_catalog(game), instance)
            assert partitions.get_partition_keys(dynamic_partitions_store=instance) == ["mill", "mine", "inn"]
    assert graph.get(AssetKey(["west", "worlds", "old", "gallery"])).partitions_def is None


def test_checks_of_dataset_and_verification_block(game: DataDir) -> None:
    graph = load(game).resolve_asset_graph()
    checks = {key: graph.get(key) for key in graph.asset_check_keys}
    assert {key.name for key in checks} == {"preflight", "verdicts"}
    assert all(node.blocking for node in checks.values())


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("worlds/old/history.yaml", "chapters: [", "history.yaml"),
        ("worlds/old/visual_style.yaml", "loras: []\nbase_seed: soon", "base_seed"),
        ("worlds/old/history.yaml", "chapters:\n  - title: a\n    title: b", "twice"),
    ],
)
def test_a_broken_world_shows_why_and_hinders_nobody(game: DataDir, file: str, text: str, told: str) -> None:
    (game.genre_root("west") / file).write_text(text)
    defs = load(game)
    assert {"west/worlds/old/stack", "west/worlds/old/poi_images", "west/worlds/paper/poi_images"} <= keys(defs)
    node = defs.resolve_asset_graph().get(AssetKey(["west", "worlds", "old", "stack"]))
    assert "What is wrong with this world" in str(node.description)
    assert told in str(node.description)


def test_a_broken_genre_hinders_no_other(game: DataDir) -> None:
    write_yaml(game.genre_root("sea") / "history.yaml", {"chapters": [chapter(poi("Reef"))]})
    (game.genre_root("west") / "visual_style.yaml").write_text("loras: {}\n")
    loaded = keys(load(game))
    assert "sea/worlds/default/poi_images" in loaded
    assert {f"west/worlds/{world}/{name}" for world in ("old", "paper") for name in ("stack", "poi_images")} <= loaded


def test_broken_settings_do_not_keep_the_definitions_from_loading(game: DataDir) -> None:
    game.settings_file.write_text("promotion: maybe\n")
    assert "west/worlds/old/poi_images" in keys(load(game))


def test_an_external_adapter_starts_at_the_remap(game: DataDir) -> None:
    import shutil

    shutil.rmtree(game.datasets_root / "west/landscape")
    loaded = keys(load(game))
    assert "west/loras/west_land/mlx_adapter" not in loaded
    assert {f"west/loras/west_land/{step}" for step in STEPS[3:]} <= loaded
    assert parents(load(game), "west/loras/west_land/verification") == {"west/loras/west_land/mflux_adapter"}


def test_a_genre_and_a_tier_that_are_called_like_sources_load(game: DataDir) -> None:
    """Shared sources have keys of two parts, as a genre's style has."""
    for name in ("verify_prompts", "base_models", "keymaps", "sq_yaml", "sources"):
        entry = lora(f"{name}_land", f"{name}/visual_style", applies_to=["visual_style", "landscape"])
        write_yaml(game.genre_root(name) / "visual_style.yaml", {"positive_suffix": "wide", "loras": [entry]})
        write_yaml(game.genre_root(name) / "history.yaml", {"chapters": [chapter(poi("Reef"))]})
    loaded = keys(load(game))
    assert {"verify_prompts/visual_style", "keymaps", "keymaps/visual_style", "sq_yaml/visual_style"} <= loaded
    assert sum(name.startswith("verify_prompts/visual_style_made_up") for name in loaded) == 1


def test_an_empty_data_directory_loads(data: DataDir) -> None:
    assert keys(load(data)) == set()


def test_the_shipped_content_loads(shipped: DataDir) -> None:
    loaded = keys(build_defs(data=shipped))
    assert sum(name.endswith("/poi_images") for name in loaded) == 3
    assert sum(name.endswith("/promoted_adapter") for name in loaded) == 3
