"""An earlier version of an adapter put back in use: a person's choice, which stays, and costs nothing to undo."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.common.errors import SelectionError, VerificationError
from sq_pipeline.common.fingerprints import hash_file, short
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.promotions.history import promotion_history
from sq_pipeline_tests.builders import faults_of
from sq_pipeline_tests.mutation.bench import Made
from sq_pipeline_tests.pipeline.line import Line
from sq_pipeline_tests.pipeline.test_sign_off import OF_OLD, WEAK, first  # noqa: F401 - its fixture

pytestmark = pytest.mark.takes(s=60)


@pytest.fixture
def line(first: DataDir, tmp_path: Path) -> Line:  # noqa: F811
    """In use is the adapter of seed 2, by Ada; that of seed 1 was promoted automatically before."""
    shutil.copytree(first.root, tmp_path / "data", symlinks=True)
    line = Line(DataDir(tmp_path / "data"))
    line.seed = 2
    return line


def versions(line: Line) -> list[str]:
    """From the oldest."""
    context = line.context()
    return [row["version"] for row in reversed(promotion_history(context, line.adapter(context)))]


def pictures(line: Line) -> dict[str, bytes]:
    folder = line.data.genre_root("west") / "images/poi"
    return {path.stem: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize("is_named", [False, True])
def test_back_and_forth_renders_nothing_that_was_rendered(line: Line, is_named: bool) -> None:
    newer, adapter = pictures(line), line.file.read_bytes()
    old = versions(line)[0]
    chosen = line.roll_back(old[:8] if is_named else None, because="the softer light")
    assert (short(chosen.adapter_version), chosen.promoted_by, chosen.because) == (old, "Bo", "the softer light")
    entry = line.entry()
    assert (entry["act"], entry["promoted_by"], entry["because"]) == ("rollback", "Bo", "the softer light")
    assert hash_file(line.file) == entry["adapter_sha256"]
    planned = {step.asset.partition(":")[2]: step for state in line.plan().worlds for step in state.pictures.values()}
    assert {slug for slug, step in planned.items() if step.status == "stale"} == {"mill", "mine", "inn"}
    assert all(step.record is not None for step in planned.values())
    assert line.bring_up() == Made()
    older = pictures(line)
    assert all(older[slug] != newer[slug] for slug in ("mill", "mine", "inn"))
    assert line.step().status == "fresh"
    assert line.bring_up() == Made()
    line.promote()
    assert line.file.read_bytes() == adapter
    assert (line.bring_up(), pictures(line)) == (Made(), newer)
    assert "act" not in line.entry()
    line.roll_back()
    assert (line.bring_up(), pictures(line)) == (Made(), older)


@pytest.mark.parametrize("promotion", ["manual", "automatic"])
def test_a_new_training_does_not_replace_it(line: Line, promotion: str) -> None:
    line.roll_back()
    line.bring_up()
    line.set(promotion)
    file, entry, shown = line.file.read_bytes(), line.entry(), pictures(line)
    assert line.bring_up() == Made()
    (told,) = [str(warning) for warning in line.plan().warnings if "in use" in str(warning)]
    assert "put back by Bo" in told
    assert told.endswith("is not used")
    line.train(5)
    assert [step.status for state in line.plan().worlds for step in state.pictures.values()].count("pending") == 0
    made = line.bring_up()
    assert (made.trained, made.promoted, made.rendered) == ({"west/west_land"}, set(), set())
    step = line.step()
    assert (step.status, line.file.read_bytes(), line.entry(), pictures(line)) == ("waiting", file, entry, shown)
    assert "a newer one waits for a person" in step.reasons[0]
    assert "in use stays version" in step.reasons[1]
    line.promote("Cy")
    assert line.bring_up().rendered == OF_OLD
    line.train(6)  # from here on all is as ever
    made = line.bring_up()
    assert (made.promoted == {"west/west_land"}) is (promotion == "automatic")


def test_promoting_what_was_put_back_lets_newer_ones_in_again(line: Line) -> None:
    line.roll_back()
    line.train(1)
    line.bring_up()
    assert (line.step().status, line.entry()["act"]) == ("fresh", "rollback")
    line.promote("Cy")
    assert (line.entry()["promoted_by"], "act" in line.entry(), line.step().status) == ("Cy", False, "fresh")
    line.set("automatic")
    line.train(5)
    assert line.bring_up().promoted == {"west/west_land"}


def test_a_run_that_looked_before_does_not_promote_over_it(line: Line) -> None:
    line.set("automatic")
    line.train(5)
    context = line.context()
    adapter = line.adapter(context)
    for name in ("training_dataset", "mlx_adapter", "chosen_checkpoint", "mflux_adapter", "verification"):
        make_adapter_asset(context, adapter, name)
    assert adapter_steps_of(context, adapter)["promoted_adapter"].status == "stale"
    line.roll_back()
    entry = line.entry()
    with pytest.raises(VerificationError, match="somebody said meanwhile which version is to be used"):
        make_adapter_asset(context, adapter, "promoted_adapter")
    assert line.entry() == entry


def test_a_newer_one_that_fails_leaves_it_too(line: Line) -> None:
    line.roll_back()
    line.bring_up()
    line.set("automatic", **WEAK)
    line.train(5)
    line.bring_up()
    step = line.step()
    assert step.status == "blocked"
    assert step.reasons[:1] == ("did not pass verification",)
    assert step.reasons[-1].startswith("in use stays version")
    assert all(step.status == "fresh" for state in line.plan().worlds for step in state.pictures.values())


@pytest.mark.parametrize("state", ["being trained", "failing", "without its dataset"])
def test_it_is_possible_whatever_becomes_of_the_line(line: Line, state: str) -> None:
    if state == "failing":
        line.set("manual", **WEAK)
    line.train(5)
    if state == "failing":
        line.bring_up()
    if state == "without its dataset":
        shutil.rmtree(line.data.datasets_root / "west/landscape/")
        (line.data.datasets_root / "west/landscape/").mkdir()
    line.roll_back()
    assert line.entry()["act"] == "rollback"
    assert all(step.record is not None for state in line.plan().worlds for step in state.pictures.values())


def test_what_was_in_use_survives_a_lost_store(line: Line) -> None:
    """The replaced ones are in the archive, each once; the one in use is in its place alone."""
    newer = line.file.read_bytes()
    line.roll_back()
    line.bring_up()
    older = line.file.read_bytes()
    assert newer in [path.read_bytes() for path in line.archived()]
    line.lose_store()
    context = line.context()
    rows = promotion_history(context, line.adapter(context))
    assert all(row["path"] for row in rows)
    assert [row["is_in_use"] for row in rows] == [True, False, False]
    line.bring_up()
    assert (line.file.read_bytes(), line.step().status) == (older, "fresh")
    line.lose_store()
    line.roll_back(versions(line)[1])
    assert line.file.read_bytes() == newer
    assert len({path.read_bytes() for path in line.archived()}) == len(line.archived()) == 2


def test_it_stays_when_the_index_and_the_manifest_are_lost(line: Line) -> None:
    line.roll_back()
    line.bring_up()
    entry, file = line.entry(), line.file.read_bytes()
    line.data.manifest("west").unlink()
    line.file.unlink()
    assert line.step().status == "stale"
    line.bring_up()
    assert (line.entry(), line.file.read_bytes()) == (entry, file)


def test_an_adapter_from_elsewhere_is_put_back_and_its_file_stays(line: Line) -> None:
    shutil.rmtree(line.data.datasets_root / "west/landscape")
    older, replaced = versions(line)
    theirs = line.archived()[0].read_bytes()
    line.file.write_bytes(theirs)  # of the older one's tensors, which got a yes
    line.bring_up()
    assert short(str(line.entry()["adapter_version"])) == older
    line.roll_back(replaced)
    assert line.file.read_bytes() == theirs
    line.bring_up()
    step = line.step()
    assert (step.status, step.record is not None and short(step.record.data_version)) == ("fresh", replaced)
    line.lose_store()
    line.bring_up()
    assert short(str(line.entry()["adapter_version"])) == replaced
    assert line.step().status == "fresh"


def _gone(line: Line) -> None:
    line.lose_store()
    for path in line.archived():
        path.unlink()


def _never(line: Line) -> None:
    line.data.manifest("west").unlink()
    line.data.promotion_history("west").unlink()


def _once(line: Line) -> None:
    _never(line)
    line.file.unlink()
    line.promote()


@pytest.mark.parametrize(
    ("change", "to", "by", "because", "told"),
    [
        (None, "ffffffffff", "Bo", None, "to: no version begins with 'ffffffffff'; known are {all}"),
        (None, "", "Bo", None, "to: no version begins with ''; known are {all}"),
        (None, "{new}", "Bo", None, "to: version {new}, promoted by Ada on .*, is in use; known are {old}$"),
        (None, None, " ", None, "by: nobody is named; say who promotes it"),
        (None, None, "Bo", "", "because: is empty; say why, or leave it out"),
        (None, None, "", " ", "by: nobody is named; .*\n.*because: is empty; "),
        (_gone, None, "Bo", None, "to: the file of version {old}, .* is neither in the store nor .*known are {new}$"),
        (_never, None, "Bo", None, "was never promoted, so there is nothing to put back; see `sq-pipeline plan`"),
        (_once, None, "Bo", None, "no other version was ever promoted; see `sq-pipeline adapter history west_land`"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    line: Line, change: Callable[[Line], None] | None, to: str | None, by: str, because: str | None, told: str
) -> None:
    old, new = versions(line)
    words = {"{old}": old, "{new}": new, "{all}": f"{old}, {new}"}
    if change:
        change(line)
    for word, value in words.items():
        told, to = told.replace(word, value), to and to.replace(word, value)
    file = line.file.read_bytes()
    manifest = line.data.manifest("west")
    before = manifest.read_bytes() if manifest.is_file() else b""
    with pytest.raises(SelectionError, match=told):
        line.roll_back(to, by, because)
    assert line.file.read_bytes() == file
    assert (manifest.read_bytes() if manifest.is_file() else b"") == before
    assert faults_of(lambda: line.roll_back(to, by, because), SelectionError)


def test_the_history_is_newest_first_and_says_all(line: Line) -> None:
    line.set("manual", **WEAK)
    line.train(5)
    line.bring_up()
    line.promote("Cy", "it is meant to")
    line.roll_back(by="Bo")
    context = line.context()
    rows = promotion_history(context, line.adapter(context))
    assert [(row["by"].split(" ")[0], row["act"], row["is_in_use"]) for row in rows] == [
        ("Bo", "rollback", True),
        ("Cy", "promotion", False),
        ("Ada", "promotion", False),
        ("automatic", "promotion", False),
    ]
    assert rows[0]["version"] == rows[2]["version"]
    assert [row["because"] for row in rows] == [None, "it is meant to", None, None]
    assert rows[1]["verdict"].startswith("failed picture changed: ")
    assert rows[2]["verdict"] == "passed 7 checks"
    assert all(row["path"] and row["at"] and row["adapter_sha256"] and row["base_model"] for row in rows)
