"""What Dagster's pages show of what was made: numbers that plot, tables, links, pictures in a check's verdict."""

import math
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, AssetMaterialization, TableMetadataValue, UrlMetadataValue

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.shown import plain_metadata, table_of, tags_of
from sq_pipeline.pipeline.gallery_address import gallery_address, picture_address, told_as_gallery
from sq_pipeline_tests.defs.ticks import Ticks, launch
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_checkpoint_choice import keep_checkpoints

LAND = "west/loras/west_land"


def last(game: Game, name: str) -> AssetMaterialization:
    """What the page of an asset shows."""
    (record,) = game.instance.fetch_materializations(AssetKey(name.split("/")), limit=1).records
    assert record.asset_materialization is not None
    return record.asset_materialization


def test_figures_become_numbers_tables_and_texts() -> None:
    shown = plain_metadata(
        {"a": 1, "b": 0.5, "no": None, "nan": math.nan, "list": [1, 2], "none": [], "of": {"x": 1, "y": {"z": "t"}},
         "rows": [{"k": "v", "n": 1}, {"k": "w", "n": 2.5, "more": None}]}
    )  # fmt: skip
    table = shown.pop("rows")
    assert shown == {"a": 1, "b": 0.5, "list": "1, 2", "none": "none", "of.x": 1, "of.y.z": "t"}
    assert isinstance(table, TableMetadataValue)
    assert [(column.name, column.type) for column in table.schema.columns] == [
        ("k", "string"), ("n", "float"), ("more", "string"),
    ]  # fmt: skip
    assert [dict(record.data) for record in table.records] == [
        {"k": "v", "n": 1.0, "more": ""},
        {"k": "w", "n": 2.5, "more": ""},
    ]


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([True, False], "bool", [True, False]),
        ([1, 2], "int", [1, 2]),
        ([1, None], "string", ["1", ""]),
        ([[1, 2], "a"], "string", ["1, 2", "a"]),
        ([0.123456789, "x"], "string", ["0.123457", "x"]),
    ],
)
def test_a_column_is_of_what_all_of_its_values_are(values: list[Any], kind: str, shown: list[Any]) -> None:
    table = table_of([{"a": value} for value in values])
    assert table.schema.columns[0].type == kind
    assert [record.data["a"] for record in table.records] == shown


def test_what_dagster_takes_for_no_tag_is_left_out() -> None:
    assert tags_of(tier="portrait", world="a b", genre="g" * 64) == {"sq/tier": "portrait"}


def test_a_picture_links_to_its_adapter_its_report_and_its_dataset(done: Game) -> None:
    shown = last(done, "west/worlds/old/poi_images").metadata
    links = {name: shown[name].value for name in shown if name.split()[0] in ("adapter", "report", "dataset")}
    assert links == {
        "adapter west_land": AssetKey([*LAND.split("/"), "promoted_adapter"]),
        "report of west_land": AssetKey([*LAND.split("/"), "verification"]),
        "dataset of west_land": AssetKey([*LAND.split("/"), "training_dataset"]),
    }
    assert isinstance(shown["stack"], TableMetadataValue)
    assert isinstance(shown["matched keys"].value, int)


def test_figures_of_an_adapter_plot(done: Game, tmp_path: Any) -> None:
    keep_checkpoints(done, tmp_path)
    shown = last(done, f"{LAND}/verification").metadata
    assert isinstance(shown["checks"], TableMetadataValue)
    assert {dict(record.data)["check"] for record in shown["checks"].records} >= {"keys matched"}
    plotted = [name for name, value in shown.items() if isinstance(value.value, float)]
    assert len(plotted) > 2
    assert not [name for name, value in shown.items() if isinstance(value.value, (list, dict))]


def test_the_verdict_of_the_gate_has_its_pictures_where_nobody_has_to_ask_for_them(done: Game) -> None:
    from sq_pipeline_tests.defs.test_jobs import retrain

    retrain(done, 9)
    names = [item["asset"] for item in done.plan()["stale"] if item["asset"].startswith(LAND)]
    result = launch(Ticks(done), *names)
    (verdict,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "verdicts"]
    assert verdict.description is not None
    assert verdict.description.startswith("PASS")
    assert "](data:image/jpeg;base64," in verdict.description


def test_each_asset_says_what_it_is_and_can_be_filtered(done: Game) -> None:
    graph = build_defs(data=done.data, make_engines=done.engines).resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    assert [node.key for node in nodes if not node.description or not node.kinds] == []
    images = graph.get(AssetKey(["west", "worlds", "old", "poi_images"]))
    assert {name: value for name, value in images.tags.items() if name.startswith("sq/")} == {
        "sq/genre": "west", "sq/world": "old", "sq/tier": "landscape",
    }  # fmt: skip
    adapter = graph.get(AssetKey([*LAND.split("/"), "promoted_adapter"]))
    assert adapter.tags["sq/adapter"] == "west_land"


def test_a_picture_links_to_its_place_in_the_gallery_and_a_link_makes_nothing_stale(game: Game) -> None:
    """While one is up, and in no fingerprint: with another address, or none, nothing is to do."""
    with told_as_gallery(game.data, "http://127.0.0.1:3010/"):
        game.run()
        definitions = build_defs(data=game.data, make_engines=game.engines).resolve_asset_graph()
    links = {name: last(game, f"west/worlds/old/{name}").metadata for name in ("poi_images", "gallery", "prompts")}
    shown = {name: metadata["gallery"] for name, metadata in links.items() if "gallery" in metadata}
    slug = last(game, "west/worlds/old/poi_images").partition
    assert shown == {
        "poi_images": UrlMetadataValue(f"http://127.0.0.1:3010/#/west/old/landscape/{slug}"),
        "gallery": UrlMetadataValue("http://127.0.0.1:3010/"),
    }
    of_assets = {
        node.key.path[-1]: node.metadata["gallery"] for node in definitions.asset_nodes if "gallery" in node.metadata
    }
    assert of_assets == dict.fromkeys(("poi_images", "gallery"), UrlMetadataValue("http://127.0.0.1:3010/"))
    assert game.plan()["stale"] == []
    with told_as_gallery(game.data, "http://127.0.0.1:3011/"):
        assert game.plan()["stale"] == []


def test_an_address_of_the_gallery_is_of_any_name_and_of_nobody_else(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    assert gallery_address(data) is None
    with told_as_gallery(data, "http://127.0.0.1:3010/"):
        assert gallery_address(data) == "http://127.0.0.1:3010/"
        for said in (b"http://elsewhere.example/", b"", b"javascript:alert(1)", b"\xff\xfe"):
            data.gallery_note.write_bytes(said)
            assert gallery_address(data) is None
    assert not data.gallery_note.exists()
    assert picture_address("http://h/", "a b", "c/d", "poi", "\u00fc") == "http://h/#/a%20b/c%2Fd/poi/%C3%BC"
