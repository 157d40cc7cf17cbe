"""`dataset import`: another trainer's folder as one of ours. The source stays; what is refused leaves nothing."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.cli import main
from sq_pipeline.common.errors import DatasetError, StorageError
from sq_pipeline.training.import_dataset import import_dataset
from sq_pipeline_tests.builders import faults_of, names_below
from sq_pipeline_tests.cases.datasets import (
    HEIC,
    build_case,
    dataset,
    drawing,
    kohya_folder,
    metadata_jsonl,
    other_caption,
)

Build = Callable[[Path], object]


def captions_of(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.txt"))}


def state_of(root: Path) -> dict[str, tuple[bytes, int, int]]:
    paths = [root / name for name in names_below(root)]
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_nlink)
        for path in paths
        if path.is_file() and not path.is_symlink()
    }


def kohya_without_captions(folder: Path) -> None:
    kohya_folder(folder)
    for path in folder.rglob("*.txt"):
        path.unlink()


def two_folders_of_equal_names(folder: Path) -> None:
    kohya_folder(folder)
    shutil.copytree(folder / "10_trg house", folder / "3_trg barn")
    for path in (folder / "3_trg barn").glob("*.png"):
        drawing(200 + int(path.stem)).save(path)


def names_of_one_case(folder: Path) -> None:
    kohya_folder(folder)
    (folder / "more").mkdir()
    for name, seed in (("Mill", 1), ("mill", 2), ("MILL", 3)):
        (folder / "more" / name).mkdir()
        drawing(300 + seed).save(folder / "more" / name / f"{name}.png")
        (folder / "more" / name / f"{name}.txt").write_text(f"trg {name}")


def table_of_paths(folder: Path) -> None:
    metadata_jsonl(folder)
    (folder / "train").mkdir()
    for path in folder.glob("*.png"):
        path.rename(folder / "train" / path.name)
    rows = [{"file_name": f"train/{n}.png", "text": f"trg scene {n}"} for n in range(4)]
    (folder / "metadata.jsonl").write_text("\n".join([*map(json.dumps, rows), "", "{broken", "[1]"]))


def kohya_meta(folder: Path) -> None:
    metadata_jsonl(folder)
    (folder / "metadata.jsonl").unlink()
    meta = {f"/home/me/set/{n}": {"caption": f"trg scene {n}", "tags": "x"} for n in range(4)}
    (folder / "meta_cap.json").write_text(json.dumps({str(Path(key).name): value for key, value in meta.items()}))


def nfd_everywhere(folder: Path) -> None:
    dataset(folder, "subject", pairs=1)
    name = unicodedata.normalize("NFD", "café")
    drawing(9).save(folder / f"{name}.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "café.png", "text": "trg café"}))


READ: dict[str, tuple[Build, int, str, list[str]]] = {
    # how it is built, its pairs, one of its captions, what is told to be left
    "kohya-folder": (kohya_folder, 4, "trg house 0", ["10_trg house/: its 10 repeats are not used"]),
    "metadata-jsonl": (metadata_jsonl, 4, "trg scene 0", []),
    "caption-dot-caption": (other_caption("x.caption", "trg a red barn\n"), 5, "trg a red barn", []),
    "caption-json": (other_caption("x.json", '{"caption": "trg a red barn"}'), 5, "trg a red barn", []),
    "caption-double-suffix": (other_caption("x.png.txt", "trg a red barn"), 5, "trg a red barn", []),
    "caption-bom": (other_caption("x.caption", "\ufefftrg a red barn"), 5, "trg a red barn", []),
    "json-of-a-list": (other_caption("x.json", '{"captions": ["trg a red barn", "x"]}'), 5, "trg a red barn", []),
    "kohya-without-captions": (
        kohya_without_captions, 4, "trg house",
        ["10_trg house/: its 10 repeats", "10_trg house/: its name is the caption of 4 pictures"],
    ),
    "two-folders-of-equal-names": (
        two_folders_of_equal_names, 8, "trg house 3", ["10_trg house/: its 10 repeats", "3_trg barn/: its 3 repeats"],
    ),
    "names-of-one-case": (names_of_one_case, 7, "trg Mill", ["10_trg house/: its 10 repeats"]),
    "table-of-paths": (table_of_paths, 4, "trg scene 3", []),
    "kohya-meta": (kohya_meta, 4, "trg scene 1", []),
    "nfd-everywhere": (nfd_everywhere, 2, "trg café", []),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_pairs_are_copied_and_the_source_is_as_before(tmp_path: Path, case: str) -> None:
    build, pairs, caption, left = READ[case]
    source, target = tmp_path / "their set", tmp_path / "new/ours"
    build(source)
    before = state_of(source)
    made = import_dataset(source, target)
    assert (made.pairs, made.recipe) == (pairs, "lora.yaml")
    assert state_of(source) == before  # no byte, no time, no link
    captions = captions_of(target)
    assert len(captions) == len({name.casefold() for name in captions}) == pairs
    assert caption in captions.values()
    pictures = [path for path in target.iterdir() if path.suffix == ".png"]
    assert {path.stem for path in pictures} == set(captions)
    originals = {content for content, *_ in before.values()}
    assert all(path.read_bytes() in originals and not path.is_symlink() for path in pictures)
    assert len(made.left) == len(left), made.left
    assert all(line.startswith(words) for line, words in zip(made.left, left, strict=True))
    assert sorted(path.name for path in target.parent.iterdir()) == ["ours"]


def test_what_has_no_place_in_it_is_told(tmp_path: Path) -> None:
    source = build_case("masks-and-notes", tmp_path / "set")
    (source / "a.heic").write_bytes(HEIC)
    (source / "lora.yaml").unlink()
    (source / "odd.txt").write_bytes(b"\xff\xfe\0")
    drawing(40).save(source / "odd.png")
    drawing(41).save(source / "alone.png")
    (source / "link.png").symlink_to(tmp_path / "elsewhere.png")
    made = import_dataset(source, tmp_path / "out")
    assert (made.pairs, made.recipe) == (4, None)
    told = {line.partition(":")[0]: line for line in made.left}
    words = {
        "lora.yaml": "is not there; write one, with the `trigger`", "a.heic": "is HEIC", "odd.txt": "is not UTF-8",
        "alone.png": "has no caption", "good0-masklabel.png": "is a mask", "notes.txt": "is no part of a pair",
        "good0_0200x0150_flux.npz": "is no part of a pair", "link.png": "is a link",
    }  # fmt: skip
    assert told.keys() == words.keys()
    for name, text in words.items():
        assert text in told[name]


def occupied(target: Path) -> None:
    target.mkdir()
    (target / "mine.txt").write_text("mine")


def a_file(target: Path) -> None:
    target.write_text("mine")


def a_link(target: Path) -> None:
    (target.parent / "elsewhere").mkdir()
    target.symlink_to(target.parent / "elsewhere")


def a_dangling_link(target: Path) -> None:
    target.symlink_to(target.parent / "nowhere")


@pytest.mark.parametrize("prepare", [occupied, a_file, a_link, a_dangling_link])
def test_what_is_there_is_not_written_over(tmp_path: Path, prepare: Build) -> None:
    source, target = build_case("kohya-folder", tmp_path / "set"), tmp_path / "out"
    prepare(target)
    before = names_below(tmp_path), state_of(tmp_path)
    (fault,) = faults_of(lambda: import_dataset(source, target), DatasetError)
    assert (fault.file, fault.problem) == (str(target), "is no empty folder")
    assert (names_below(tmp_path), state_of(tmp_path)) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert import_dataset(build_case("kohya-folder", tmp_path / "set"), tmp_path / "out").pairs == 4


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("set", "set/out", "which is not touched"),
        ("set", "set", "which is not touched"),
        ("none", "out", "there is no such folder"),
        ("set/lora.yaml", "out", "there is no such folder"),
        ("empty", "new/out", "holds no picture with a caption"),
    ],
)
def test_a_refused_import_leaves_nothing(tmp_path: Path, source: str, target: str, words: str) -> None:
    build_case("kohya-folder", tmp_path / "set")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    faults = faults_of(lambda: import_dataset(tmp_path / source, tmp_path / target), DatasetError)
    assert words in faults[0].problem
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_import_that_is_broken_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    source, copied = build_case("kohya-folder", tmp_path / "set"), shutil.copyfile
    before = sorted(tmp_path.rglob("*"))

    def fail(origin: Path, target: Path) -> None:
        if origin.name == "2.png":
            raise error
        copied(origin, target)

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
        import_dataset(source, tmp_path / "new/deep/out")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_prints_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = build_case("kohya-folder", tmp_path / "set")
    for number, option in enumerate(([], ["--json"])):
        command = ["sq-pipeline", "dataset", "import", str(source), str(tmp_path / f"out {number}"), *option]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    text, report = capsys.readouterr().out.strip().rpartition("\n")[::2]
    assert f"4 pairs in {tmp_path}/out 0; `sq-pipeline dataset check '{tmp_path}/out 0'` checks them" in text
    assert "left: 10_trg house/: its 10 repeats are not used" in text
    assert json.loads(report) == {
        "dataset": f"{tmp_path}/out 1",
        "pairs": 4,
        "recipe": "lora.yaml",
        "left": ["10_trg house/: its 10 repeats are not used: all pictures are seen alike"],
    }
