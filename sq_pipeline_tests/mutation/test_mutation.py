"""The promise: change one thing, and exactly what depends on it is made again. No picture too many, none too few.

Edits of a game, one by one and in random sequences with undos; after each the game is brought up to date, and what
was planned, made and put in place is held against the oracle.
"""

import copy
import hashlib
import itertools
import json
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
from PIL import Image

from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.base_models.base_models import RenderSettings, SizePx
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content import choices, prompts
from sq_pipeline.content.records import OwnSettings
from sq_pipeline.pipeline import inputs, plan
from sq_pipeline.pipeline.adapters import mflux_adapter, mlx_adapter, verification
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.promotions import sign_offs
from sq_pipeline.pipeline.store import Store
from sq_pipeline.pipeline.worlds import gallery, images, stack, stack_look
from sq_pipeline.training import recipe
from sq_pipeline.training.dataset import TrainingDataset
from sq_pipeline.verification import verify
from sq_pipeline_tests.cases.damages import DAMAGES, Damage
from sq_pipeline_tests.mutation import changes
from sq_pipeline_tests.mutation.bench import Made, Planned, bring_up, perform_acts
from sq_pipeline_tests.mutation.choice_edits import CHOICE_EDITS
from sq_pipeline_tests.mutation.edits import ALL, ALL_ADAPTERS, LAND, TRAINED_ADAPTERS, Edit
from sq_pipeline_tests.mutation.edits import EDITS as OTHER_EDITS
from sq_pipeline_tests.mutation.game import Game, first_game
from sq_pipeline_tests.mutation.game_files import files_of, write_files
from sq_pipeline_tests.mutation.oracle import Expected, Oracle
from sq_pipeline_tests.mutation.tier_edits import NAME_EDITS, TIER_EDITS
from sq_pipeline_tests.parts import rest_is_long

pytestmark = pytest.mark.takes(s=250)

EDITS = [*OTHER_EDITS, *TIER_EDITS, *CHOICE_EDITS]
SEQUENCES, QUICK_SEQUENCES = 300, 15
FILE_BYTES = 24 * 1024  # of every picture
FOLDERS = {"landscape": "poi", "portrait": "portrait"}
LOST_SHARE = 0.3  # of the states, before which the index is lost
FEW = 8  # sequences within which a broken product must be noticed


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_fast(patch)
        yield


def make_fast(patch: pytest.MonkeyPatch) -> None:
    """Leave out what costs most and decides nothing: these tests pull no plug, and nobody looks at their sheets."""
    patch.setattr(os, "fsync", lambda handle: None)
    patch.setattr(mlx_adapter, "draw_loss_curve", lambda losses, title, validation: b"no curve")
    patch.setattr(verification, "draw_report_sheet", lambda report: None)
    patch.setattr(gallery, "draw_gallery", lambda pictures: b"".join(png for _, png in pictures))
    # as good pictures of one size do now and then, all files have one length: it must tell nothing
    encode = images.encode_png
    patch.setattr(images, "encode_png", lambda pixels, chunks: _padded(encode(pixels, chunks)))


def _padded(content: bytes) -> bytes:
    assert len(content) < FILE_BYTES
    return content.ljust(FILE_BYTES, b"\0")


def _copy_file(source: str, target: str) -> None:
    """Link what is only ever replaced as a whole, copy the rest (a store's records may be changed in place)."""
    if source.endswith((".png", ".safetensors", ".jsonl")):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


@dataclass
class Bench:
    """A game on disk, the oracle that has seen all of it, and the bytes that were first made for each key."""

    data: DataDir
    game: Game
    oracle: Oracle = field(default_factory=Oracle)
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    first: dict[str, str] = field(default_factory=dict[str, str])

    def copy_to(self, root: Path) -> "Bench":
        shutil.copytree(self.data.root, root, copy_function=_copy_file)
        return Bench(DataDir(root), self.game, self.oracle.copy(), dict(self.files), dict(self.first))

    def show(self, game: Game) -> Made:
        """Write the game, bring it up to date, compare everything with the oracle."""
        files = files_of(game)
        write_files(files, self.data.root, self.files)
        self.game, self.files = game, files
        self.oracle.decide(game)
        perform_acts(self.data, game, self.files)
        expected = self.oracle.bring_up(game)
        made, planned = bring_up(self.data, game)
        assert made == expected.made
        assert planned == expected.planned
        self._compare_files(expected)
        again, _ = bring_up(self.data, replace(game, rollbacks=0))
        assert again == Made()
        return made

    def _compare_files(self, expected: Expected) -> None:
        for picture, key in expected.published.items():
            genre, tier, slug = picture.split("/")
            content = (self.data.genre_root(genre) / "images" / FOLDERS[tier] / f"{slug}.png").read_bytes()
            self._is_first(picture, f"picture {key}", hashlib.sha256(content).hexdigest())
        for file, key in expected.adapters.items():
            tensors = safetensors.numpy.load_file(self.data.lora_root / file)
            content = b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))
            self._is_first(file, f"adapter {key}", hashlib.sha256(content).hexdigest())

        for chosen in self.game.chosen.values():  # what is locked is the very file that was there
            locked = json.loads(chosen.kept or "{}")
            if locked and locked["kept"] in self._known_files() and "adopted" not in locked["look"]:
                self._is_first("locked", f"picture {chosen.kept}", self.first[f"picture {locked['kept']}"])

    def _known_files(self) -> set[str]:
        return {key.removeprefix("picture ") for key in self.first if key.startswith("picture ")}

    def _is_first(self, what: str, key: str, digest: str) -> None:
        assert self.first.setdefault(key, digest) == digest, f"{what} is not what was first made for {key}"


def names(keys: set[str]) -> set[str]:
    return {key.rpartition("/")[2] for key in keys}


def pictures_of(made: Made) -> set[str]:
    """`slug` of a place, `tier/slug` of anything else."""
    return {key.split("/", 2)[2] for key in made.rendered}


def finish(root: Path) -> Bench:
    bench = Bench(DataDir(root), first_game())
    made = bench.show(bench.game)
    assert pictures_of(made) == set(ALL.split())
    assert names(made.trained) == set(TRAINED_ADAPTERS.split())
    assert names(made.verified) == set(ALL_ADAPTERS.split())
    return bench


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder in memory where the machine has one: thousands of small files are written."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def finished(scratch: Path) -> Bench:
    """The first game, up to date; each test works on a copy."""
    return finish(scratch / "finished")


@pytest.fixture
def bench(finished: Bench, scratch: Path) -> Iterator[Bench]:
    yield finished.copy_to(scratch / "copy")
    shutil.rmtree(scratch / "copy")


@pytest.mark.parametrize("edit", [*EDITS, *NAME_EDITS], ids=lambda edit: edit.name)
def test_an_edit_makes_exactly_what_depends_on_it_and_its_undo_nothing(
    edit: Edit, finished: Bench, bench: Bench
) -> None:
    game = copy.deepcopy(bench.game)
    edit.change(game)
    made = bench.show(game)
    assert pictures_of(made) == set(edit.pictures.split())
    assert names(made.trained) == set(edit.trained.split())
    assert names(made.remapped) == set(edit.remapped.split())
    assert names(made.verified) == set(edit.verified.split())
    assert bench.show(finished.game) == Made()


def test_a_version_that_is_put_back_stays_until_a_person_promotes_another(bench: Bench) -> None:
    game = copy.deepcopy(bench.game)

    def show(*looks: int, rolls_back: bool = False, says_yes: bool = False) -> Made:
        nonlocal game
        game = replace(copy.deepcopy(game), says_yes=says_yes)
        for look in looks:
            changes.picture(LAND, "b.png", look=look)(game)
        if rolls_back:
            changes.roll_back(game)
        return bench.show(game)

    land, of_old = {"west/west_land"}, {"west/old/mill", "west/old/mine", "west/old/inn"}
    assert (show(94).promoted, show(rolls_back=True)) == (land, Made())
    made = show(95)
    assert (made.trained, made.verified, made.promoted, made.rendered) == (land, land, set(), set())
    made = show(says_yes=True)
    assert (made.promoted, made.rendered) == (land, of_old)
    assert show(96).promoted == land
    assert show(rolls_back=True) == Made()
    assert show(94) == Made()  # it was in use before, and is not by itself
    assert show(rolls_back=True) == Made()


def test_every_edit_has_its_own_name_and_changes_a_file_or_the_machine() -> None:
    edits = [*EDITS, *NAME_EDITS]
    assert len({edit.name for edit in edits}) == len(edits) >= 28
    for edit in edits:
        game = first_game()
        edit.change(game)
        assert game != first_game(), edit.name


def _damage_one(bench: Bench, kind: str, name: str, damage: Damage) -> str:
    """The object `name` of the first asset that is a record of this kind; returns the asset."""
    with closing(sqlite3.connect(bench.data.store_root / "records.sqlite")) as connection:
        asset, fingerprint = connection.execute(
            "SELECT asset, fingerprint FROM current WHERE kind = ? ORDER BY asset", (kind,)
        ).fetchone()
    store = Store(bench.data.store_root)
    record = store.read_record(kind, fingerprint)
    assert record is not None
    path = store.lend(record.objects[name])
    content = path.read_bytes()
    path.unlink()  # it is one file with the finished game's
    path.write_bytes(content)
    damage(path)
    return asset


@pytest.mark.parametrize("damage", rest_is_long(DAMAGES, "a flipped bit", "a folder"))
def test_a_damaged_object_is_made_again_and_nothing_else(damage: str, bench: Bench) -> None:
    """Of a picture, and of a training."""
    picture = _damage_one(bench, "picture", "picture", DAMAGES[damage])
    made, planned = bring_up(bench.data, bench.game)
    (rendered,) = made.rendered
    assert rendered.rpartition("/")[2] == picture.rpartition(":")[2]
    assert planned.rendered == made.rendered
    assert (made.trained, made.remapped, made.verified) == (set(), set(), set())
    training = _damage_one(bench, "mlx_adapter", "adapter", DAMAGES[damage])
    made, _ = bring_up(bench.data, bench.game)
    assert names(made.trained) == {training.split("/")[2]}
    assert (made.rendered, made.remapped, made.verified) == (set(), set(), set())
    assert bench.show(bench.game) == Made()


def test_a_picture_of_a_persons_own_stays_and_holds_up_nothing_else(bench: Bench) -> None:
    path = min(bench.data.content_root.rglob("images/poi/*.png"))
    ours = path.read_bytes()
    path.unlink()
    Image.new("RGB", (8, 8), "red").save(path)
    theirs = path.read_bytes()
    game = copy.deepcopy(bench.game)
    assert bring_up(bench.data, game) == (Made(), Planned())
    assert path.read_bytes() == theirs
    path.unlink()
    made, planned = bring_up(bench.data, game)
    assert made == Made()
    assert {key.rpartition("/")[2] for key in planned.put_back} == {path.stem}
    assert path.read_bytes() == ours
    assert bench.show(bench.game) == Made()


def play(bench: Bench, seed: int, edits: Sequence[Edit] = EDITS) -> None:
    """Three to six edits and undos (to any earlier state); now and then two at once. A failure names them all.

    Now and then the store's index is lost meanwhile, which changes nothing.
    """
    numbers, losses = random.Random(seed), random.Random(f"losses {seed}")
    games, told = [bench.game], list[str]()
    for _ in range(numbers.randint(3, 6)):
        if len(games) > 1 and numbers.random() < 0.35:
            earlier = numbers.randrange(len(games) - 1)
            game = copy.deepcopy(games[earlier])
            told.append(f"undo to state {earlier}")
        else:
            game = copy.deepcopy(games[-1])
            chosen = numbers.sample(edits, numbers.choice((1, 1, 1, 2)))
            for edit in chosen:
                edit.change(game)
            told.append(" and ".join(edit.name for edit in chosen))
        games.append(game)
        if losses.random() < LOST_SHARE:
            (bench.data.store_root / "records.sqlite").unlink()
            told.append("the index lost")
        try:
            bench.show(game)
        except Exception as error:
            error.add_note(f"seed {seed}: {'; '.join(told)}")
            raise


SEEDS = [pytest.param(at, marks=() if at < QUICK_SEQUENCES else pytest.mark.long) for at in range(SEQUENCES)]


def keep_two(bench: Bench, seed: int) -> None:
    """Somebody locks one picture and gives another a file of their own: both stay, whatever comes."""
    kept = random.Random(f"kept {seed}").sample(
        ["Mill", "Mine", "Inn", "Gate", "Dock", "Well", "Reef", "Ada", "Gil"], 2
    )
    game = copy.deepcopy(bench.game)
    changes.decide("lock", kept[0])(game)
    changes.decide("adopt", kept[1], seed)(game)
    assert bench.show(game).rendered == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_edits_and_undos_around_what_is_kept(seed: int, bench: Bench) -> None:
    keep_two(bench, seed)
    play(bench, seed)


def _without(name: str, position: int, instead: Any, module: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """A function of `pipeline.inputs` that always gets the same for one of its arguments."""

    def sabotage(patch: pytest.MonkeyPatch) -> None:
        right = getattr(inputs, name)
        patch.setattr(module, name, lambda *given: right(*given[:position], instead, *given[position + 1 :]))

    return sabotage


def _seeds_do_not_count(patch: pytest.MonkeyPatch) -> None:
    right = inputs.prompt_inputs
    patch.setattr(inputs, "prompt_inputs", lambda prompt, model: {**right(prompt, model), "seed": 0})


def _negative_prompts_always_count(patch: pytest.MonkeyPatch) -> None:
    right = inputs.prompt_inputs
    patch.setattr(
        inputs, "prompt_inputs", lambda prompt, model: {**right(prompt, model), "negative": prompt.negative_prompt}
    )


def _scales_do_not_count(patch: pytest.MonkeyPatch) -> None:
    right = inputs.stack_inputs
    patch.setattr(inputs, "stack_inputs", lambda entries: right([(version, 1.0) for version, _ in entries]))


def _how_a_keymap_is_written_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Keymap, "meaning", lambda keymap: {"rules": keymap.model_dump(mode="json")})


def _names_of_training_pictures_count(patch: pytest.MonkeyPatch) -> None:
    version = property(
        lambda dataset: fingerprint({"pairs": [[i.name, i.pixels_hash, i.caption] for i in dataset.images]})
    )
    patch.setattr(TrainingDataset, "data_version", version)


def _the_learning_rate_does_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recipe, "_NOT_TRAINED", {*recipe._NOT_TRAINED, "learning_rate"})


def _what_comes_out_identical_goes_on(patch: pytest.MonkeyPatch) -> None:
    right, numbers = mlx_adapter.tensors_data_version, itertools.count()

    def version_of(path: Path) -> str:
        return f"{right(path)} {next(numbers)}" if path.stem == "final_adapters" else right(path)

    patch.setattr(mlx_adapter, "tensors_data_version", version_of)


def _an_undo_puts_no_picture_back(patch: pytest.MonkeyPatch) -> None:
    def take_for_fresh(_context: Any, _world: Any, _poi: Any, step: Step, _published: Any) -> Step:
        return replace(step, status="fresh") if step.record else step

    patch.setattr(images, "_with_published", take_for_fresh)


def _a_failed_adapter_is_used(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verify.VerificationReport, "has_passed", True)
    patch.setattr(sign_offs, "has_passed", lambda verdicts: True)


def _the_tier_does_not_count_for_seeds(patch: pytest.MonkeyPatch) -> None:
    right = prompts.seed_for
    patch.setattr(
        prompts, "seed_for", lambda genre, world, name, _tier, base, own: right(genre, world, name, "", base, own)
    )


def _seeds_of_entries_do_not_count(patch: pytest.MonkeyPatch) -> None:
    right = prompts.seed_for
    patch.setattr(
        prompts, "seed_for", lambda genre, world, name, tier, base, _own: right(genre, world, name, tier, base)
    )


def _sizes_and_steps_of_entries_do_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnSettings, "over", lambda _self, settings: settings)


def _a_stack_is_looked_at_whatever_its_prompts_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stack_look, "_asked", lambda _prompts, _members: [])


def _a_portrait_is_taken_for_the_place_with_its_slug(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Context, "picture_key", lambda _self, _world, _tier, slug: slug)


def _a_settled_tier_settles_the_others(patch: pytest.MonkeyPatch) -> None:
    right = plan.find_settled
    patch.setattr(plan, "find_settled", lambda context, world, _tier: right(context, world, "landscape"))


def _a_missing_adapter_is_never_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stack, "_why_no_stack", lambda _context, _world, _tier: ())


def _a_pick_does_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(choices, "_picked", lambda _world, _tier, subject, _choice: subject)


def _a_pick_follows_the_base_seed(patch: pytest.MonkeyPatch) -> None:
    def shift(_world: Any, _tier: Any, subject: Any, choice: Any) -> Any:
        return subject if choice is None else replace(subject, own=replace(subject.own, seed=f"+{choice.take}"))

    patch.setattr(choices, "_picked", shift)


def _a_lock_holds_nothing(patch: pytest.MonkeyPatch) -> None:
    right = choices._settle
    patch.setattr(choices, "_settle", lambda *given: replace(right(*given), kept={}))


def _a_lock_holds_only_while_its_stack_is_there(patch: pytest.MonkeyPatch) -> None:
    right = images.kept_step

    def follow(context: Any, state: Any, slug: Any, asset: Any, choice: Any, otherwise: Step) -> Any:
        step, kept = right(context, state, slug, asset, choice, otherwise)
        return (otherwise if otherwise.status in ("blocked", "pending") else step), kept

    patch.setattr(images, "kept_step", follow)


ANY_SETTINGS = RenderSettings(SizePx(64, 64), 8, None)

# what is broken, and the edits that it is looked for with
SABOTAGE = [
    ("seeds do not count", _seeds_do_not_count, ("genre: base_seed", "genre: positive_suffix", "world: base_seed")),
    ("negative prompts always count", _negative_prompts_always_count, "genre"),
    ("scales do not count", _scales_do_not_count, "stack"),
    ("how a keymap is written counts", _how_a_keymap_is_written_counts, "keymap"),
    ("keymaps do not count", _without("mflux_adapter_inputs", 1, None, mflux_adapter), "keymap"),
    ("names of training pictures count", _names_of_training_pictures_count, "dataset"),
    ("the learning rate does not count", _the_learning_rate_does_not_count, "recipe"),
    ("what comes out identical goes on", _what_comes_out_identical_goes_on, "recipe"),
    ("an undo puts no picture back", _an_undo_puts_no_picture_back, "place"),
    ("a failed adapter is used", _a_failed_adapter_is_used, "threshold"),
    ("thresholds do not count", _without("verification_inputs", 5, {}, verification), "threshold"),
    ("renderer versions do not count", _without("picture_inputs", 5, {}, images), "renderer"),
    ("weights do not count for pictures", _without("picture_inputs", 3, "", images), "base model"),
    ("weights do not count for adapters", _without("mlx_adapter_inputs", 3, "", mlx_adapter), "base model"),
    ("the tier does not count for seeds", _the_tier_does_not_count_for_seeds, "tier: size"),
    ("seeds of entries do not count", _seeds_of_entries_do_not_count, "picture"),
    ("sizes and steps of entries do not count", _sizes_and_steps_of_entries_do_not_count, "picture"),
    (
        "prompts do not count for the look at a stack",
        _a_stack_is_looked_at_whatever_its_prompts_are,
        ("stack: add", "verify prompts"),
    ),
    ("sizes and steps of tiers do not count", _without("picture_inputs", 4, ANY_SETTINGS, images), "tier"),
    ("a portrait is taken for the place with its slug", _a_portrait_is_taken_for_the_place_with_its_slug, "person"),
    ("a settled tier settles the others", _a_settled_tier_settles_the_others, "person"),
    ("a pick does not count", _a_pick_does_not_count, "choice: a take"),
    ("a pick follows the base seed", _a_pick_follows_the_base_seed, ("choice: a take of", "genre: base_seed")),
    ("a lock holds nothing", _a_lock_holds_nothing, "choice"),
    (
        "a lock holds only while its stack is there",
        _a_lock_holds_only_while_its_stack_is_there,
        ("choice: a lock", "choice: a file", "face", "stack", "dataset"),
    ),
    ("a missing adapter is never told", _a_missing_adapter_is_never_told, "face"),
]


@pytest.mark.parametrize(
    ("what", "sabotage", "kind"),
    [
        pytest.param(*broken, id=broken[0], marks=() if at % 5 == 0 else pytest.mark.long)
        for at, broken in enumerate(SABOTAGE)
    ],
)
def test_the_oracle_notices(
    what: str, sabotage: Callable[[pytest.MonkeyPatch], None], kind: str | tuple[str, ...], scratch: Path
) -> None:
    """A product broken on purpose is found out within a few sequences."""
    edits = [edit for edit in EDITS if edit.name.startswith(kind)]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=scratch) as folder:
        sabotage(patch)
        broken = finish(Path(folder) / "finished")

        def play_few() -> None:
            for seed in range(FEW):
                play(broken.copy_to(Path(folder) / str(seed)), seed, edits)

        with pytest.raises(AssertionError) as caught:
            play_few()
        assert caught.value.__notes__[0].startswith("seed ")
