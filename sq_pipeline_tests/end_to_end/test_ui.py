"""`sq-pipeline ui`: the pages show what the command line did, and a person can materialize a world there.

Asked over GraphQL, as the pages themselves do.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.end_to_end.conftest import Demo, open_pages
from sq_pipeline_tests.pages import Pages, wait

pytestmark = [pytest.mark.long, pytest.mark.takes(s=60)]

WORLD = ["spaghetti_western", "worlds", "the_real_mccoy"]
_RUN_S = 240


@pytest.fixture(scope="module")
def data(small: Demo, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """A copy of the finished small demo."""
    data = DataDir(tmp_path_factory.mktemp("ui") / "data")
    shutil.copytree(small.data.root, data.root)
    return data


@pytest.fixture(scope="module")
def pages(data: DataDir) -> Iterator[Pages]:
    with open_pages(data) as pages:
        yield pages


def _edit(data: DataDir, old: str, new: str) -> None:
    history = data.world_root("spaghetti_western", "the_real_mccoy") / "history.yaml"
    said = history.read_text()
    assert old in said
    history.write_text(said.replace(old, new))


def test_everything_is_green(pages: Pages) -> None:
    """Every asset of the demo is in the graph, materialized by the command line, and every check has passed."""
    query = """{ assetNodes { assetKey { path } isMaterializable
      partitionStats { numMaterialized numPartitions numFailed }
      assetMaterializations(limit: 1) { timestamp }
      assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } }"""
    nodes = [node for node in pages.ask(query)["assetNodes"] if node["isMaterializable"]]
    assert len(nodes) == 3 * 6 + 3 * 4
    checks: list[str] = []
    for node in nodes:
        assert node["assetMaterializations"], node["assetKey"]["path"]
        if node["partitionStats"]:
            assert node["partitionStats"] == {"numMaterialized": 9, "numPartitions": 9, "numFailed": 0}
        for check in node["assetChecksOrError"].get("checks", ()):
            assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED"
            checks.append(check["name"])
    assert sorted(checks) == ["preflight"] * 3 + ["verdicts"] * 3


def test_a_person_materializes_a_world_and_sees_its_pictures(pages: Pages, data: DataDir) -> None:
    """All nine places at once, prompts and pictures: one run, which renders only what changed."""
    _edit(data, "a chapel in the centre", "a chapel on the left")
    places = pages.ask(
        "query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode { partitionKeys } } }",
        k={"path": [*WORLD, "poi_images"]},
    )["assetNodeOrError"]["partitionKeys"]
    assert len(places) == 9
    launched = pages.ask(
        """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
          __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        p={
            "assetSelection": [{"path": [*WORLD, name]} for name in ("prompts", "poi_images")],
            "partitionNames": places,
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    status = """query($b: String!) { partitionBackfillOrError(backfillId: $b) { ... on PartitionBackfill {
      status runs(limit: 50) { status } } } }"""

    def backfill() -> Any:
        return pages.ask(status, b=launched["backfillId"])["partitionBackfillOrError"]

    wait(lambda: backfill()["status"] not in ("REQUESTED", "CANCELING"), _RUN_S)
    assert backfill()["status"] == "COMPLETED_SUCCESS"
    assert [run["status"] for run in backfill()["runs"]] == ["SUCCESS"]
    made = pages.ask(
        """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
          assetMaterializations(limit: 9) { partition metadataEntries {
            label ... on MarkdownMetadataEntry { mdStr } ... on BoolMetadataEntry { boolValue } } } } } }""",
        k={"path": [*WORLD, "poi_images"]},
    )["assetNodeOrError"]["assetMaterializations"]
    told = {event["partition"]: {entry["label"]: entry for entry in event["metadataEntries"]} for event in made}
    assert set(told) == set(places)
    assert {place for place, entries in told.items() if entries["made_now"]["boolValue"]} == {"duel_church"}
    assert all("](data:image/jpeg;base64," in entries["picture"]["mdStr"] for entries in told.values())


def test_an_edit_is_rendered_by_itself(pages: Pages, data: DataDir) -> None:
    """With the sensor on, an edited prompt is a new picture some seconds later, and nothing else is made."""
    folder = data.genre_root("spaghetti_western") / "images/poi"
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    known = {run["id"] for run in pages.runs()}
    pages.set_sensor("content", is_on=True)
    _edit(data, "a chapel on the left", "a chapel on the right")

    def rendered() -> list[dict[str, Any]]:
        return [r for r in pages.runs() if r["id"] not in known and "sq/rendered" in r["tags"]]

    wait(rendered, _RUN_S, "the picture")
    (run,) = rendered()
    assert (run["tags"]["sq/rendered"], run["tags"]["sq/model_loads"]) == ("1", "1")
    after = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert {name for name in after if after[name] != before.get(name)} == {"duel_church.png"}
