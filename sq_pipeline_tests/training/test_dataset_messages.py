"""What is wrong with a dataset is told by the file that it is of, like ones together, with a way that works."""

import json
import pickle
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sq_pipeline.cli import main
from sq_pipeline.common.errors import DatasetError
from sq_pipeline.training.dataset import check_dataset, fingerprint_folder
from sq_pipeline.training.preflight.like_faults import group_faults
from sq_pipeline_tests.builders import faults_of
from sq_pipeline_tests.cases import datasets
from sq_pipeline_tests.cases.datasets import HEIC, RECIPE, dataset, drawing, file_beside_caption, one, other_caption

Build = Callable[[Path], object]


def upper_heic(folder: Path) -> None:
    file_beside_caption("A.HEIC", HEIC)(folder)
    (folder / "A.txt").rename(folder / "A.TXT")


def many_heics(folder: Path) -> None:
    dataset(folder)
    for number in range(9):
        (folder / f"{number}.heic").write_bytes(HEIC)
        (folder / f"{number}.txt").write_text("trg")


def table_csv(folder: Path) -> None:
    dataset(folder, "subject", pairs=1)
    for number in range(5):
        drawing(50 + number).save(folder / f"{number}.png")
    (folder / "metadata.csv").write_text("file_name,text\n" + "".join(f"{n}.png,trg scene {n}\n" for n in range(5)))


def pair_named(picture: str, caption: str) -> Build:
    """A sound dataset, and a pair whose names are not quite one."""

    def build(folder: Path) -> None:
        dataset(folder)
        drawing(100).save(folder / picture)
        (folder / caption).write_text("trg")

    return build


def leftovers(folder: Path) -> None:
    dataset(folder)
    for name in ("._good0.png", "._good0.txt", ".DS_Store", ".picasa.ini", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "loop").symlink_to(folder)


def split_folders(folder: Path) -> None:
    datasets.kohya_folder(folder)
    (folder / "10_trg house").rename(folder / "train")


def masks_by_suffix(folder: Path) -> None:
    dataset(folder)
    for number in range(4):
        drawing(60 + number).convert("L").save(folder / f"good{number}_mask.png")


def nfc_picture_nfd_caption(folder: Path) -> None:
    datasets.nfd_picture_nfc_caption(folder)
    for path in list(folder.glob("caf*")):
        other = "caf\u00e9" if path.suffix == ".png" else "cafe\u0301"
        path.rename(folder / f"{other}{path.suffix}")


def sizes_of_all_kinds(folder: Path) -> None:
    dataset(folder, pairs=1)
    for number in range(5):
        drawing(70 + number, 60 + number, 80).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("trg")


def without_captions(folder: Path) -> None:
    dataset(folder)
    for number in range(30):
        drawing(80 + number).save(folder / f"{number:02d}.png")


def recipe_txt(folder: Path) -> None:
    (dataset(folder) / "lora.yaml").rename(folder / "Lora.yaml.txt")


def two_of_a_kind(folder: Path) -> None:
    dataset(folder)
    for number in range(2):
        (folder / f"good{number}.txt").write_text("a barn")


BROTHERS: dict[str, Build] = {
    "format-heic-capitals": upper_heic,
    "formats-of-nine": many_heics,
    "format-psd": file_beside_caption("a.psd", b"8BPS\0\1"),
    "format-raw": file_beside_caption("a.NEF", b"MM\0*"),
    "format-film": file_beside_caption("a.mp4", b"\0\0\0\x18ftypisom"),
    "named-png-is-pdf": file_beside_caption("a.png", b"%PDF-1.7"),
    "named-png-is-lfs": file_beside_caption("a.png", b"version https://git-lfs.github.com/spec/v1\n"),
    "named-webp-is-film": file_beside_caption("a.webp", b"\0\0\0\x18ftypmp42"),
    "named-tga-is-text": file_beside_caption("a.tga", b"hello, this is no picture at all"),
    "named-jpg-is-eps": file_beside_caption("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    "names-of-other-capitals": pair_named("Abc.png", "abc.txt"),
    "a-space-in-one-name": pair_named("x .png", "x.txt"),
    "leftovers": leftovers,
    "metadata-csv": table_csv,
    "folder-train": split_folders,
    "masks-by-suffix": masks_by_suffix,
    "nfc-picture-nfd-caption": nfc_picture_nfd_caption,
    "sizes-of-all-kinds": sizes_of_all_kinds,
    "without-captions": without_captions,
    "recipe-yaml-txt": recipe_txt,
    "caption-dot-cap": other_caption("x.cap", "trg a red barn"),
    "caption-json-prompt": other_caption("x.png.json", '{"prompt": "trg a red barn"}'),
    "two-of-a-kind": two_of_a_kind,
    "jpeg-named-png": one(drawing(100), "a.png", format="JPEG"),
    "gif-without-caption": lambda folder: drawing(100).save(dataset(folder) / "preview.gif"),
    "heic-without-caption": lambda folder: (dataset(folder) / "a.heic").write_bytes(HEIC),
}
IMPORT = "`sq-pipeline dataset import "
# each line that is told, by its beginning and by words in it
FAULTS: dict[str, list[tuple[str, str]]] = {
    "format-heic": [("a.heic: is HEIC, which is not read here", "save it as PNG")],
    "format-jxl": [("a.jxl: is JPEG XL, which is not read here", "save it as PNG")],
    "format-svg": [("a.svg: is a drawing, not a picture", "export it as PNG")],
    "named-jpg-is-heic": [("a.jpg: is HEIC, which is not read here", "save it as PNG")],
    "named-jpg-is-html": [("a.jpg: is an HTML page, not a picture", "get the picture itself")],
    "named-jpg-is-empty": [("a.jpg: cannot be decoded: it has 0 bytes", "get the picture itself")],
    "kohya-folder": [("10_trg house/: holds 4 pictures, 10 times each", IMPORT)],
    "metadata-jsonl": [("metadata.jsonl: holds the captions of 4 pictures", IMPORT)],
    "caption-dot-caption": [("x.png: has its caption in x.caption", IMPORT)],
    "caption-json": [("x.png: has its caption in x.json", IMPORT)],
    "caption-double-suffix": [("x.png: has its caption in x.png.txt", IMPORT)],
    "style-described": [("24 files: each says something else than 'trg' (00.txt, 01.txt, 02.txt", "`kind: subject`")],
    "recipe-yml": [("lora.yml: is not read: the recipe's name is lora.yaml", "rename it to lora.yaml")],
    "duplicates-159": [("159 files: each shows the same pixels as 000.png (001.png, 002.png, 003.png", "156 more")],
    "wrong-sizes-24": [("24 files: each is 96×128 pixels, the training resolution is 128×96", "aspect_buckets")],
    "masks-and-notes": [
        ("good0-masklabel.png: looks like a mask", '`ignore: ["*-masklabel.png"]`'),
        ("notes.txt: has no image", '`ignore: ["notes.txt"]`'),
    ],
    "too-many-pixels": [("h.jpg: has 90,000,000 pixels; more than 89,478,485", "scale it down")],
    "format-heic-capitals": [("A.HEIC: is HEIC", "save it as PNG")],
    "formats-of-nine": [("9 files: each is HEIC", "0.heic, 1.heic, 2.heic and 6 more")],
    "format-psd": [("a.psd: is a Photoshop file", "export it as PNG")],
    "format-raw": [("a.NEF: is a camera's raw file", "develop it")],
    "format-film": [("a.mp4: is a film", "save its frames")],
    "named-png-is-pdf": [("a.png: is a document", "export it")],
    "named-png-is-lfs": [("a.png: is a Git LFS pointer", "git lfs pull")],
    "named-webp-is-film": [("a.webp: is a film", "save its frames")],
    "named-tga-is-text": [("a.tga: is no picture of a kind that is known here", "get the picture itself")],
    "names-of-other-capitals": [("Abc.png: has its caption in abc.txt", "rename it to Abc.txt")],
    "a-space-in-one-name": [("x .png: has its caption in x.txt", "rename it to x .txt")],
    "named-jpg-is-eps": [("a.jpg: is a document", "export it")],
    "metadata-csv": [("metadata.csv: holds the captions of 5 pictures", IMPORT)],
    "folder-train": [("train/: holds 4 pictures that are not trained", IMPORT)],
    "masks-by-suffix": [("4 files: each looks like a mask", '`ignore: ["*_mask.png"]`')],
    "sizes-of-all-kinds": [("5 files: each is smaller than the training resolution of 128×96 pixels", "2 more")],
    "without-captions": [("30 files: each has no caption", "write a .txt of its name")],
    "recipe-yaml-txt": [("Lora.yaml.txt: is not read", "rename it to lora.yaml")],
    "caption-dot-cap": [("x.png: has its caption in x.cap", IMPORT)],
    "caption-json-prompt": [("x.png: has its caption in x.png.json", IMPORT)],
    "two-of-a-kind": [("good0.txt: says 'a barn'", "`kind: subject`"), ("good1.txt: says 'a barn'", "`kind: subject`")],
}
FIT: dict[str, list[tuple[str, str]]] = {
    **{name: [] for name in ("format-avif", "format-gif", "format-jfif", "format-tga", "format-jp2")},
    "nfd-picture-nfc-caption": [],
    "nfc-picture-nfd-caption": [],
    "jpeg-named-png": [],
    "leftovers": [
        ("Thumbs.db: is neither image nor caption", "it is ignored"),
        ("desktop.ini: is neither image nor caption", "it is ignored"),
        ("loop: is a link to a folder; nothing in it is trained", "put the pictures themselves"),
    ],
    "pairs-in-subfolder": [("sub/: holds 1 picture that is not trained", IMPORT)],
    "gif-without-caption": [("preview.gif: is neither image nor caption", "it is ignored")],
    "heic-without-caption": [("a.heic: is HEIC, which is not read here; it is not trained", "save it as PNG")],
}


def build(name: str, folder: Path) -> Path:
    (datasets.CASES | BROTHERS)[name](folder)
    return folder


def assert_told(lines: list[str], expected: list[tuple[str, str]]) -> None:
    assert len(lines) == len(expected), lines
    for line, (beginning, words) in zip(lines, expected, strict=True):
        assert line.removeprefix("set: ").removeprefix("set/").startswith(beginning), line
        assert words in line
        assert "remove the caption" not in line
        assert "\n" not in line


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_names_its_file_and_a_way(tmp_path: Path, case: str) -> None:
    faults = faults_of(lambda: check_dataset(build(case, tmp_path / "set"), "set", "tiny-flux"), DatasetError)
    assert_told([str(fault) for fault in faults], FAULTS[case])


@pytest.mark.parametrize(
    "case", ["metadata-jsonl", "metadata-csv", "caption-dot-caption", "caption-json", "caption-dot-cap"]
)
def test_what_a_fault_names_is_told_once(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", "dataset", "check", str(build(case, tmp_path / "set"))])
    with pytest.raises(SystemExit):
        main()
    told = "".join(capsys.readouterr())
    assert "error: " in told
    assert "it is ignored" not in told


@pytest.mark.parametrize("case", FIT)
def test_what_can_be_read_is_fit(tmp_path: Path, case: str) -> None:
    checked = check_dataset(build(case, tmp_path / "set"), "set", "tiny-flux")
    assert_told([str(warning) for warning in group_faults(checked.warnings)], FIT[case])


# --- the hints: each is done as told, and the dataset is fit


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def add_to_recipe(folder: Path, line: str) -> None:
    key = line.partition(":")[0]
    kept = [old for old in (folder / "lora.yaml").read_text().splitlines() if not old.startswith(f"{key}:")]
    (folder / "lora.yaml").write_text("\n".join([*kept, line]) + "\n")


IMPORTED = [case for case, told in {**FAULTS, **FIT}.items() if told and told[0][1] == IMPORT]


@pytest.mark.parametrize("case", IMPORTED)
def test_the_import_that_a_hint_names_works(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(case, tmp_path / "my set")
    run(monkeypatch, "dataset", "check", folder)
    output = capsys.readouterr()
    command = re.search(r"`sq-pipeline ([^`]*)`", output.out + output.err)
    assert command is not None
    arguments = shlex.split(command[1])
    assert run(monkeypatch, *arguments) == 0
    assert run(monkeypatch, "dataset", "check", arguments[-1]) == 0


EDITS: dict[str, Callable[[Path], object]] = {
    "style-described": lambda folder: add_to_recipe(folder, "kind: subject"),
    "wrong-sizes-24": lambda folder: add_to_recipe(folder, "aspect_buckets: true"),
    "recipe-yml": lambda folder: (folder / "lora.yml").rename(folder / "lora.yaml"),
    "masks-and-notes": lambda folder: add_to_recipe(folder, 'ignore: ["*-masklabel.png", "notes.txt"]'),
    "masks-by-suffix": lambda folder: add_to_recipe(folder, 'ignore: ["*_mask.png"]'),
    "alpha-hidden-magenta": lambda folder: add_to_recipe(folder, 'background: "#ffffff"'),
    "alpha-background-faulty": lambda folder: add_to_recipe(folder, "background: white"),
}


@pytest.mark.parametrize("case", EDITS)
def test_the_edit_that_a_hint_names_works(tmp_path: Path, case: str) -> None:
    folder = build(case, tmp_path / "set")
    EDITS[case](folder)
    assert check_dataset(folder, "set", "tiny-flux").images


# --- telling


def test_all_of_them_are_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build("duplicates-159", tmp_path / "set")
    assert run(monkeypatch, "dataset", "check", folder, "--json") == 1
    output = capsys.readouterr()
    faults = json.loads(output.out)["faults"]
    assert len(faults) == 159
    assert faults[-1].startswith(f"{folder}/159.png: shows the same pixels as 000.png")
    assert len(output.err.splitlines()) == 1


def test_an_error_keeps_each_across_a_border(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        check_dataset(build("duplicates-159", tmp_path / "set"), "set", "tiny-flux")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.faults, again.every) == (caught.value.faults, caught.value.every)
    assert (len(again.faults), len(again.every)) == (1, 159)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("steps: 500", "write it as `iterations`"),
        ("max_train_steps: 500", "write it as `iterations`"),
        ("optimizer: prodigy", "Adam is the only optimizer"),
        ("network_dim: 8", "write it as `rank`"),
        ("lr: 0.1", "write it as `learning_rate`"),
        ("lr_scheduler: constant", "falls on a cosine"),
        ("epochs: 10", "counted in `iterations`"),
        ("trigger_word: trg", "write it as `trigger`"),
        ("repeats: 10", "all pictures are seen alike"),
        ("iteration: 5", "did you mean `iterations`?"),
        ("zzz: 5", "remove it"),
    ],
)
def test_a_key_of_another_trainer_is_met_with_ours(tmp_path: Path, key: str, words: str) -> None:
    dataset(tmp_path / "set")
    others = [line for line in RECIPE.splitlines() if f"`{line.partition(':')[0]}`" not in words]
    (tmp_path / "set/lora.yaml").write_text("\n".join(["kind: style", *others, key]))
    (fault,) = faults_of(lambda: check_dataset(tmp_path / "set", "set", "tiny-flux"), DatasetError)
    assert fault.field == key.partition(":")[0]
    assert words in fault.hint


def test_what_is_ignored_is_of_no_dataset(tmp_path: Path) -> None:
    """Neither a fault nor a part of the fingerprint."""
    folder = dataset(tmp_path / "set", extra='ignore: ["*_mask.png", "notes.txt"]\n')
    before = fingerprint_folder(folder, "set")
    Image.new("L", (9, 9)).save(folder / "good0_mask.png")
    (folder / "notes.txt").write_text("buy milk")
    checked = check_dataset(folder, "set", "tiny-flux")
    assert (len(checked.images), checked.warnings) == (4, ())
    assert fingerprint_folder(folder, "set") == before
