"""A yes is for exactly one adapter, base model and report: what it counts for, what overrules, what stays in use."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sq_pipeline.common.errors import AdapterError, ContentError, VerificationError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.adapters import promoted_adapter
from sq_pipeline.pipeline.promotions.sign_offs import Judged, SignOff, read_sign_offs
from sq_pipeline_tests.builders import faults_of
from sq_pipeline_tests.fakes import FakeMeter
from sq_pipeline_tests.mutation.bench import Made
from sq_pipeline_tests.pipeline.fast import write_game
from sq_pipeline_tests.pipeline.line import NAME, Line

pytestmark = pytest.mark.takes(s=60)

OLD_KEYS = {"file", "adapter_version", "promoted_by", "verified", "made_from"}
WEAK = {"ssim_changed_max": 0.001}  # no adapter changes that much
OF_OLD = {f"west/old/{slug}" for slug in ("mill", "mine", "inn")}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> DataDir:
    """Promoted by Ada, and rendered."""
    root = tmp_path_factory.mktemp("line") / "data"
    root.mkdir()
    data = DataDir(root)
    for part in ("keymaps", "verify_prompts", "models"):
        (root / part).symlink_to(shipped.root / part)
    write_game(data)
    line = Line(data)
    line.set("automatic")
    line.bring_up()
    line.set("manual")
    line.train(2)
    line.bring_up()
    line.promote()
    assert line.bring_up().rendered == OF_OLD
    return data


@pytest.fixture
def line(first: DataDir, tmp_path: Path) -> Line:
    shutil.copytree(first.root, tmp_path / "data", symlinks=True)
    line = Line(DataDir(tmp_path / "data"))
    line.seed = 2
    return line


JUDGED = Judged("sha256:ab", (), "tiny-flux", "sha256:01")
SAID: dict[str, Any] = {
    "file": "west/landscape.safetensors",
    "adapter_version": "sha256:ab",
    "base_model": "tiny-flux",
    "base_weights": "sha256:01",
    "promoted_by": "Ada",
    "verified": {"fidelity": "passed: all: of it", "trigger": "skipped: none"},
}


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"verified": {"fidelity": "passed: measured again", "trigger": "skipped: none"}}, True),
        ({"promoted_by": "Bo", "promoted_at": "2026-01-02T03:04:05Z", "made_from": {"verification_report": "x"}}, True),
        ({"base_model": None, "base_weights": None}, True),  # of before this was written down
        ({"adapter_version": "sha256:cd"}, False),
        ({"base_model": "flux1-dev"}, False),
        ({"base_weights": "sha256:02"}, False),
        ({"verified": {"fidelity": "failed: no", "trigger": "skipped: none"}}, False),
        ({"verified": {"fidelity": "passed: all"}}, True),  # a check that was not made stops nothing
        ({"verified": {"fidelity": "warned: nearly", "trigger": "passed: yes"}}, True),
        ({"verified": {}}, False),
    ],
)
def test_what_a_yes_is_for(change: dict[str, Any], counts: bool) -> None:
    assert SignOff(**{**SAID, **change}).is_for(JUDGED) is counts


@pytest.mark.parametrize(("because", "counts"), [(None, False), ("it is meant to", True)])
def test_a_failed_one_counts_with_a_reason_alone(because: str | None, counts: bool) -> None:
    judged = Judged("sha256:ab", ("fidelity",), "tiny-flux", "sha256:01")
    assert SignOff(**{**SAID, "verified": {"fidelity": "failed: x"}, "because": because}).is_for(judged) is counts


def test_the_manifest_says_who_when_and_what_it_was_for(line: Line) -> None:
    entry, step = line.entry(), line.step()
    assert step.status == "fresh"
    assert entry["promoted_by"] == "Ada"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(entry["promoted_at"]))
    assert entry["base_model"] == "tiny-flux"
    assert entry["base_weights"] == line.engines.weights["tiny-flux"]
    assert step.record is not None
    assert entry["adapter_sha256"] == step.record.objects["adapter"].sha256
    assert str(entry["made_from"]["verification_report"]).startswith("sha256:")  # type: ignore[index]
    assert "promoted_at" not in step.record.inputs
    assert "because" not in entry


def _forget_new_keys(line: Line) -> None:
    """As a version of before left it."""
    line.data.promotion_history("west").unlink()
    path = line.data.manifest("west")
    adapters = yaml.safe_load(path.read_text())["adapters"]
    old = {name: {key: entry[key] for key in entry if key in OLD_KEYS} for name, entry in adapters.items()}
    path.write_text(yaml.safe_dump({"adapters": old}))


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("is_old", [False, True])
def test_a_yes_survives_a_lost_store_and_an_upgrade(line: Line, is_lost: bool, is_old: bool) -> None:
    if is_old:
        _forget_new_keys(line)
    before = line.entry()
    if is_lost:
        line.lose_store()
    made = line.bring_up()
    assert line.step().status == "fresh"
    assert {name: line.entry()[name] for name in OLD_KEYS} == {name: before[name] for name in OLD_KEYS}
    assert line.entry().get("promoted_at") == before.get("promoted_at")
    assert is_lost or made == Made()


def test_another_outcome_waits_and_the_same_one_does_not(line: Line) -> None:
    line.set("manual", ssim_changed_max=0.998)
    assert line.bring_up().verified == {"west/west_land", "west/paper_land"}
    assert line.step().status == "fresh"
    line.engines.weights["tiny-flux"] = "sha256:" + "1" * 64  # the fake trains the same adapter over any base
    line.bring_up()
    step = line.step()
    assert step.status == "waiting"
    assert any("over tiny-flux with other weights" in reason for reason in step.reasons)
    line.promote("Cy")
    assert (line.step().status, line.entry()["promoted_by"]) == ("fresh", "Cy")
    line.engines.weights["tiny-flux"] = "sha256:" + "0" * 64
    line.bring_up()
    assert (line.step().status, line.entry()["promoted_by"]) == ("fresh", "Ada")


def test_with_automatic_promotion_another_base_is_judged_again(line: Line) -> None:
    line.set("automatic")
    line.engines.weights["tiny-flux"] = "sha256:" + "1" * 64
    assert "west/west_land" in line.bring_up().promoted
    assert str(line.entry()["promoted_by"]).startswith("automatic")
    assert line.entry()["base_weights"] == "sha256:" + "1" * 64


def _trained_anew(line: Line) -> None:
    line.train(5)
    line.bring_up()


def _failing(line: Line) -> None:
    line.set("automatic", **WEAK)
    _trained_anew(line)


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [(_trained_anew, "waiting", "waits for a person"), (_failing, "blocked", "picture changed: ")],
)
def test_a_newer_one_leaves_the_promoted_one_in_use_and_says_so(
    line: Line, change: Callable[[Line], None], status: str, told: str
) -> None:
    before, entry = line.file.read_bytes(), line.entry()
    change(line)
    step = line.step()
    assert (step.status, line.file.read_bytes(), line.entry()) == (status, before, entry)
    assert any(told in reason for reason in step.reasons)
    assert re.search(r"in use stays version [0-9a-f]{12}, promoted by Ada on 20\d\d", " ".join(step.reasons))
    assert all(step.status == "fresh" for state in line.plan().worlds for step in state.pictures.values())
    assert line.bring_up() == Made()


# --- over a failed check


def _fail(line: Line) -> None:
    line.set("manual", **WEAK)
    line.train(5)
    line.bring_up()


def _unread(line: Line) -> None:
    line.engines.meter = FakeMeter(error=AdapterError("it cannot be read"))


def _refused_by_loader(line: Line) -> None:
    line.engines.meter = FakeMeter(problem="it has keys of no layer")


def _missed(line: Line) -> None:
    line.engines.meter = FakeMeter(misses=2)


@pytest.mark.parametrize(
    ("break_it", "because", "told"),
    [
        (None, None, "picture changed: "),
        (None, None, "--because WHY` overrules it"),
        (None, "", "because: is empty; say why, or leave it out"),
        (None, " \n", "because: is empty; say why, or leave it out"),
        (_unread, "it is meant to", "could not be measured, so nobody can overrule it"),
        (_refused_by_loader, "it is meant to", "mflux does not load all of it"),
    ],
)
def test_it_is_refused(line: Line, break_it: Callable[[Line], None] | None, because: str | None, told: str) -> None:
    if break_it:
        break_it(line)
    _fail(line)
    before = line.entry(), line.data.promotion_history("west").read_bytes(), line.file.read_bytes()
    assert told in "\n".join(map(str, faults_of(lambda: line.promote("Cy", because), VerificationError)))
    assert before == (line.entry(), line.data.promotion_history("west").read_bytes(), line.file.read_bytes())


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_is_not_there_yet_is_not_promoted(line: Line, is_broken: bool) -> None:
    line.train(5)
    if is_broken:
        (line.data.datasets_root / "west/landscape/lora.yaml").write_text("rank: many\n")
    before = line.entry()
    (fault,) = faults_of(line.promote, VerificationError)
    assert "cannot be made yet, because west/loras/west_land/verification" in fault.problem
    assert fault.hint == ("" if is_broken else "bring it up to date with `sq-pipeline run`")
    assert line.entry() == before


@pytest.mark.parametrize("break_it", [lambda line: None, _missed], ids=["no picture changed", "layers missed"])
def test_with_a_reason_it_is_used_and_the_reason_is_kept(line: Line, break_it: Callable[[Line], None]) -> None:
    break_it(line)
    _fail(line)
    assert line.bring_up() == Made()
    record = line.promote("Cy", " it is meant to ")
    assert (record.info["because"], len(record.info["failed"])) == ("it is meant to", 1)
    assert (line.entry()["because"], line.entry()["promoted_by"]) == ("it is meant to", "Cy")
    assert line.bring_up().rendered == OF_OLD
    assert line.step().status == "fresh"
    (told,) = [str(warning) for warning in line.plan().warnings if "in use" in str(warning)]
    assert "promoted by Cy" in told
    assert "because it is meant to; it did not pass: " in told
    # it is a yes for this one alone, and nothing is overruled by itself
    line.set("automatic", **WEAK)
    line.train(6)
    assert line.bring_up().promoted == set()
    assert line.step().status == "blocked"
    line.train(5)
    line.bring_up()
    assert line.step().status == "fresh"


def test_nothing_is_overruled_automatically(line: Line) -> None:
    _failing(line)
    context = line.context()
    faults_of(lambda: _launch(line), AdapterError)
    assert [one.promoted_by for one in read_sign_offs(line.data, line.adapter(context))][-1] == "Ada"


def _launch(line: Line) -> None:
    from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset

    context = line.context()
    make_adapter_asset(context, line.adapter(context), "promoted_adapter")


# --- cut off, damaged


@pytest.mark.parametrize("place", ["write_manifest", "copy_bytes", "keep_replaced"])
def test_a_run_goes_on_after_a_kill(line: Line, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    _trained_anew(line)
    before = line.file.read_bytes(), line.entry()

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(promoted_adapter, place, end)
        with pytest.raises(KeyboardInterrupt):
            line.promote("Cy")
    assert (line.file.read_bytes(), line.entry()) == before
    assert line.bring_up().rendered == OF_OLD
    assert (line.step().status, line.entry()["promoted_by"]) == ("fresh", "Cy")
    assert line.file.read_bytes() != before[0]


def test_a_run_goes_on_after_a_kill_between_manifest_and_file(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    _trained_anew(line)
    right = promoted_adapter.write_manifest

    def end(*given: Any) -> None:
        right(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(promoted_adapter, "write_manifest", end)
        with pytest.raises(KeyboardInterrupt):
            line.promote("Cy")
    assert line.entry()["promoted_by"] == "Cy"
    line.lose_store()
    line.bring_up()
    step = line.step()
    assert (step.status, step.reasons) == ("fresh", ())


@pytest.mark.parametrize(
    ("edit", "field", "problem"),
    [
        (lambda text: "- a\n", "", "its top level is a list"),
        (lambda text: "promotions: 5\n", "promotions", "is a number, not a mapping"),
        (lambda text: text.replace("promoted_by: Ada", "promoted_by: 5"), "promotions.west_land[1].promoted_by", ""),
        (lambda text: text.replace("promoted_by: Ada", "promoted_by: ''"), "promotions.west_land[1].promoted_by", ""),
        (lambda text: text.replace("adapter_version: sha256:", "adapter_version: md5:"), "promotions.", "pattern"),
        (lambda text: text.replace("promoted_at:", "promoted_on:"), "promotions.", "unknown key"),
        (lambda text: text.replace("promoted_by: Ada", "because: ''\n    promoted_by: Ada"), "promotions.", ""),
    ],
)
def test_a_broken_history_is_a_fault_and_what_is_in_use_stays(
    line: Line, edit: Callable[[str], str], field: str, problem: str
) -> None:
    path = line.data.promotion_history("west")
    broken = edit(path.read_text())
    assert broken != path.read_text()
    path.write_text(broken)
    step = line.step()
    assert step.status == "blocked"
    (reason, *_) = step.reasons
    assert reason.startswith(f"content/lora/west/west.history.yaml: {field}")
    assert problem in reason
    fault, *_ = faults_of(line.promote, ContentError)
    assert (fault.file, fault.field.startswith(field)) == ("content/lora/west/west.history.yaml", True)
    assert line.bring_up() == Made()
    assert path.read_text() == broken


def test_what_a_person_wrote_into_the_history_is_kept(line: Line) -> None:
    path = line.data.promotion_history("west")
    theirs = f"# Ada liked the second one\n{path.read_text()}"
    path.write_text(theirs)
    _trained_anew(line)
    line.promote("Cy")
    (kept,) = [path for path in (path.parent / "archive").iterdir() if path.suffix == ".yaml"]
    assert kept.read_text() == theirs
    assert NAME in yaml.safe_load(path.read_text())["promotions"]
