"""Dagster's web server, asked over GraphQL as its pages do, for tests that start the real processes."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

START_S = 120


@dataclass(frozen=True)
class Pages:
    """A running web server."""

    url: str

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of an answer without errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.loads(answer.read())
        assert "errors" not in told, told["errors"]
        return told["data"]

    def is_ready(self) -> bool:
        """True once the definitions are loaded."""
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        try:
            return bool(self.ask(query)["repositoriesOrError"].get("nodes"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _location(self) -> dict[str, str]:
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
        (node,) = self.ask(query)["repositoriesOrError"]["nodes"]
        return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}

    def reload(self) -> None:
        """What the button “Reload definitions” does."""
        name = self._location()["repositoryLocationName"]
        query = "mutation($n: String!) { reloadRepositoryLocation(repositoryLocationName: $n) { __typename } }"
        told = self.ask(query, n=name)["reloadRepositoryLocation"]["__typename"]
        assert told == "WorkspaceLocationEntry", told

    def set_sensor(self, name: str, *, is_on: bool) -> None:
        """Switch a sensor."""
        selector = {**self._location(), "sensorName": name}
        if is_on:
            query = "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"
            assert self.ask(query, s=selector)["startSensor"]["__typename"] == "Sensor"
            return
        query = "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { id } } }"
        sensor_id = self.ask(query, s=selector)["sensorOrError"]["id"]
        query = "mutation($i: String!) { stopSensor(id: $i) { __typename } }"
        assert self.ask(query, i=sensor_id)["stopSensor"]["__typename"] == "StopSensorMutationResult"

    def ticks(self, sensor: str, limit: int = 1) -> list[dict[str, Any]]:
        """The latest ticks: status, reason for skipping, how many runs."""
        query = """query($s: SensorSelector!, $l: Int!) { sensorOrError(sensorSelector: $s) { ... on Sensor {
          sensorState { ticks(limit: $l) { status timestamp skipReason runIds error { message } } } } } }"""
        told = self.ask(query, s={**self._location(), "sensorName": sensor}, l=limit)
        return told["sensorOrError"]["sensorState"]["ticks"]

    def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """The latest runs, newest first: id, status, assets, tags."""
        query = """query($l: Int!) { runsOrError(limit: $l) { ... on Runs { results {
          runId status assetSelection { path } tags { key value } } } } }"""
        return [
            {
                "id": run["runId"],
                "status": run["status"],
                "assets": sorted("/".join(key["path"]) for key in run["assetSelection"] or ()),
                "tags": {tag["key"]: tag["value"] for tag in run["tags"]},
            }
            for run in self.ask(query, l=limit)["runsOrError"]["results"]
        ]

    def materializations(self, asset: str, limit: int = 50) -> list[dict[str, Any]]:
        """An asset's latest materializations: run, partition, and whether work was done."""
        query = """query($k: AssetKeyInput!, $l: Int!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
          assetMaterializations(limit: $l) { runId partition
            metadataEntries { label ... on BoolMetadataEntry { boolValue } } } } } }"""
        told = self.ask(query, k={"path": asset.split("/")}, l=limit)["assetNodeOrError"]
        return [
            {
                "run": event["runId"],
                "partition": event["partition"],
                "made_now": next((e["boolValue"] for e in event["metadataEntries"] if e["label"] == "made_now"), None),
            }
            for event in told["assetMaterializations"]
        ]

    def materialize(self, *assets: str) -> str:
        """What “Materialize” does with assets that have no partitions; the run's id."""
        query = """mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) { __typename
          ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
        keys = [{"path": asset.split("/")} for asset in assets]
        selector = {**self._location(), "pipelineName": "__ASSET_JOB", "assetSelection": keys}
        params = {"selector": selector, "runConfigData": "{}", "mode": "default"}
        told = self.ask(query, p=params)["launchPipelineExecution"]
        assert "run" in told, told
        return told["run"]["runId"]

    def form(self, job: str) -> dict[str, Any]:
        """What the launchpad of a job has in it when it is opened."""
        query = """query($p: PipelineSelector!) { pipelineOrError(params: $p) { ... on Pipeline {
          presets { runConfigYaml } } } }"""
        (preset,) = self.ask(query, p={**self._location(), "pipelineName": job})["pipelineOrError"]["presets"]
        return yaml.safe_load(preset["runConfigYaml"])

    def start(self, job: str, config: dict[str, Any]) -> str:
        """What “Launch run” does; the run's id."""
        query = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
          ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
          ... on RunConfigValidationInvalid { errors { message } } } }"""
        selector = {**self._location(), "jobName": job}
        told = self.ask(query, p={"selector": selector, "runConfigData": config, "mode": "default"})["launchRun"]
        assert "run" in told, told
        return told["run"]["runId"]

    def outputs(self, run: str) -> dict[str, str]:
        """What the outputs of a run's steps show: each entry's label, and its kind."""
        query = """query($r: ID!) { logsForRun(runId: $r) { ... on EventConnection { events { __typename
          ... on ExecutionStepOutputEvent { metadataEntries { __typename label } } } } } }"""
        events = self.ask(query, r=run)["logsForRun"]["events"]
        entries = [entry for event in events for entry in event.get("metadataEntries", ())]
        return {entry["label"]: entry["__typename"] for entry in entries}

    def select(self, partitions: list[str], *assets: str) -> str:
        """What “Materialize” does with partitions that are chosen in its dialog; the selection's id."""
        query = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename
          ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        keys = [{"path": asset.split("/")} for asset in assets]
        told = self.ask(query, p={"assetSelection": keys, "partitionNames": partitions})["launchPartitionBackfill"]
        assert "backfillId" in told, told
        return told["backfillId"]

    def selection(self, selected: str) -> str:
        """How far a selection is, such as `COMPLETED_SUCCESS`."""
        query = """query($i: String!) { partitionBackfillOrError(backfillId: $i) {
          ... on PartitionBackfill { status } } }"""
        return self.ask(query, i=selected)["partitionBackfillOrError"]["status"]

    def cancel_selection(self, selected: str) -> None:
        """What “Cancel backfill” does."""
        query = "mutation($i: String!) { cancelPartitionBackfill(backfillId: $i) { __typename } }"
        told = self.ask(query, i=selected)["cancelPartitionBackfill"]["__typename"]
        assert told == "CancelBackfillSuccess", told

    def terminate(self, run: str) -> None:
        """What “Terminate” does."""
        query = "mutation($r: String!) { terminateRun(runId: $r) { __typename } }"
        assert self.ask(query, r=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def partitions(self, asset: str) -> tuple[list[str], dict[str, int]]:
        """An asset's partitions, and how many are materialized, failed, in all."""
        query = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
          partitionKeys partitionStats { numMaterialized numFailed numPartitions } } } }"""
        told = self.ask(query, k={"path": asset.split("/")})["assetNodeOrError"]
        return told["partitionKeys"], told["partitionStats"]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port: int) -> bool:
    """True while somebody answers on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait(is_done: Callable[[], Any], seconds: float, what: str = "it") -> Any:
    """The first true value of `is_done()`."""
    end = time.monotonic() + seconds
    while not (value := is_done()):
        assert time.monotonic() < end, f"{what} is not done after {seconds} s"
        time.sleep(0.5)
    return value
