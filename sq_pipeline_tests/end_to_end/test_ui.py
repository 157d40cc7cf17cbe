"""`sq-pipeline ui`: the pages show what the command line did, and a person can materialize a world there.

Asked over GraphQL, as the pages themselves do.
"""

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sq_pipeline.storage.layout import DataDir
from sq_pipeline_tests.end_to_end.conftest import COMMAND, Demo

WORLD = ["spaghetti_western", "worlds", "the_real_mccoy"]
_START_S, _RUN_S = 120, 240


@dataclass(frozen=True)
class Pages:
    """The running web server."""

    url: str
    data: DataDir

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.loads(answer.read())
        assert "errors" not in told, told["errors"]
        return told["data"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def pages(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages over a copy of the finished demo in which one prompt was edited; afterwards, a clean end by Ctrl-C."""
    data = DataDir(tmp_path_factory.mktemp("ui") / "data")
    shutil.copytree(demo.data.root, data.root)
    history = data.world_root("spaghetti_western", "the_real_mccoy") / "history.yaml"
    history.write_text(history.read_text().replace("a chapel in the centre", "a chapel on the left"))
    port = _free_port()
    log = (data.root.parent / "ui.log").open("w")
    process = subprocess.Popen([COMMAND, "ui", "--data", str(data.root), "--port", str(port)], stdout=log, stderr=log)
    running = Pages(f"http://127.0.0.1:{port}", data)
    try:
        _wait(lambda: _is_ready(running), _START_S)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        log.close()
    assert code == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def _is_ready(pages: Pages) -> bool:
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    try:
        return bool(pages.ask(query)["repositoriesOrError"].get("nodes"))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _wait(is_done: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < end, f"not done after {seconds} s"
        time.sleep(1)


def test_everything_is_green(pages: Pages) -> None:
    """Every asset of the demo is in the graph, materialized by the command line, and every check has passed."""
    query = """{ assetNodes { assetKey { path } partitionStats { numMaterialized numPartitions numFailed }
      assetMaterializations(limit: 1) { timestamp }
      assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } }"""
    nodes = pages.ask(query)["assetNodes"]
    assert len(nodes) == 3 * 5 + 3 * 4
    checks: list[str] = []
    for node in nodes:
        assert node["assetMaterializations"], node["assetKey"]["path"]
        if node["partitionStats"]:
            assert node["partitionStats"] == {"numMaterialized": 9, "numPartitions": 9, "numFailed": 0}
        for check in node["assetChecksOrError"].get("checks", ()):
            assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED"
            checks.append(check["name"])
    assert sorted(checks) == ["preflight"] * 3 + ["verdicts"] * 3


def test_a_person_materializes_a_world_and_sees_its_pictures(pages: Pages) -> None:
    """All nine places at once, prompts and pictures: one run, which renders only what changed."""
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

    _wait(lambda: backfill()["status"] not in ("REQUESTED", "CANCELING"), _RUN_S)
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
