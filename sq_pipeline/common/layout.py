"""Where things are in a data directory (DESIGN §2). Here: paths only. Not here: reading what they hold."""

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.hints import command
from sq_pipeline.common.names import key_parts
from sq_pipeline.common.tiers import TIER_NAMES, Tier

_STEM_MAX = 255 - len(".choices.yaml")  # bytes of a file name, without its ending
_SHIPPED = "_shipped"  # where a wheel carries the repository's `data/`, see pyproject.toml


@dataclass(frozen=True)
class DataDir:
    """A data directory. All paths hang on `root`, so it can be moved; nothing inside names it."""

    root: Path

    @property
    def settings_file(self) -> Path:
        return self.root / "sq.yaml"

    @property
    def content_root(self) -> Path:
        return self.root / "content"

    @property
    def packs_root(self) -> Path:
        return self.content_root / "genre_packs"

    @property
    def datasets_root(self) -> Path:
        return self.content_root / "lora-datasets"

    @property
    def lora_root(self) -> Path:
        return self.content_root / "lora"

    @property
    def keymaps_root(self) -> Path:
        return self.root / "keymaps"

    @property
    def verify_prompts_root(self) -> Path:
        return self.root / "verify_prompts"

    @property
    def gate_root(self) -> Path:
        return self.root / "gate"

    @property
    def bench_root(self) -> Path:
        return self.store_root / "gate-bench"

    @property
    def takes_root(self) -> Path:
        return self.store_root / "takes"

    @property
    def models_root(self) -> Path:
        return self.root / "models"

    @property
    def store_root(self) -> Path:
        return self.root / "store"

    @property
    def death_note(self) -> Path:
        """What is left of a run that was ended by a signal, see `common.processes.deaths`."""
        return self.store_root / "run.death"

    @property
    def server_death_note(self) -> Path:
        """As `death_note`, of the render server."""
        return self.store_root / "serve.death"

    @property
    def rendering_note(self) -> Path:
        """Which picture is being rendered, see `pipeline.worlds.rendering_now`."""
        return self.store_root / "rendering.now"

    @property
    def gallery_note(self) -> Path:
        """Where the gallery beside Dagster's pages is, see `pipeline.gallery_address`."""
        return self.store_root / "gallery.address"

    @property
    def dagster_home(self) -> Path:
        return self.store_root / "dagster"

    @property
    def checkpoints_root(self) -> Path:
        return self.store_root / "checkpoints"

    def checkpoint_folder(self, fingerprint: str) -> Path:
        """Where the training of the adapter with this fingerprint leaves its checkpoints."""
        return self.checkpoints_root / fingerprint.removeprefix("sha256:")

    def genre_root(self, genre: str) -> Path:
        return self.packs_root / genre

    def world_root(self, genre: str, world: str) -> Path:
        return self.packs_root / genre / "worlds" / world

    def published_image(self, genre: str, tier: Tier, slug: str) -> Path:
        """Where the game picks up a picture, where `sq.yaml` has no `picture_path`: `images/<kind>/<slug>.png`."""
        return self.genre_root(genre) / "images" / TIER_NAMES[tier].folder / f"{slug}.png"

    def manifest(self, genre: str) -> Path:
        return self.lora_root / genre / f"{_stem(genre)}.yaml"

    def checkpoint_choices(self, genre: str) -> Path:
        """What people chose among kept checkpoints; named so that no genre's manifest can have the same path."""
        return self.lora_root / genre / f"{_stem(genre)}.choices.yaml"

    def promotion_history(self, genre: str) -> Path:
        """Who put which version of an adapter into use; named as `checkpoint_choices` is."""
        return self.lora_root / genre / f"{_stem(genre)}.history.yaml"

    def picture_choices(self, genre: str) -> Path:
        """What people decided of pictures."""
        return self.genre_root(genre) / "choices.yaml"

    def chosen_pictures(self, genre: str) -> Path:
        """The files that people locked or adopted: theirs, to be kept under version control with `choices.yaml`."""
        return self.genre_root(genre) / "chosen"

    def relative(self, path: Path) -> str:
        """`path` relative to the data directory, with forward slashes; as it is where it lies outside."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return str(path)


def _stem(genre: str) -> str:
    """The genre's name, or what of it leaves room for an ending."""
    return genre if len(genre.encode()) <= _STEM_MAX else key_parts([genre])[genre]


def open_data_dir(root: Path) -> DataDir:
    """The data directory at `root`; raises StorageError where there is none."""
    if not (root / "content").is_dir():
        raise StorageError(
            Fault(
                str(root),
                "",
                "not a data directory (no `content` folder)",
                f"{command('demo', 'DIR')} makes one",
            )
        )
    return DataDir(root.resolve())


def shipped_data_root() -> Path:
    """What is shipped (packs, keymaps, verify prompts, tiny-flux): in a checkout `data/`, else a folder of the package.

    Only the checkout's is a data directory to work in; raises StorageError where there is neither.
    """
    package = _package()
    for root in (package / _SHIPPED, package.parent / "data"):
        if (root / "keymaps").is_dir():
            return root
    raise StorageError(Fault(str(package), "", f"lacks its {_SHIPPED} folder", "install sq-pipeline again"))


def _package() -> Path:
    return Path(str(resources.files(__name__.partition(".")[0])))


def find_data_root(given: Path | None) -> Path | None:
    """The data directory that is meant: `--data`, then SQ_DATA, then the checkout's own; None for an installed package
    where none is named.
    """
    if given is not None:
        return given
    from_environment = os.environ.get("SQ_DATA")
    if from_environment:
        return Path(from_environment)
    root = shipped_data_root()
    return None if root.name == _SHIPPED else root


def data_root(given: Path | None) -> Path:
    """The data directory that is meant, see `find_data_root`; raises StorageError where none is."""
    root = find_data_root(given)
    if root is None:
        problem = "no data directory is named"
        raise StorageError(
            Fault("", "--data", problem, f"give one, or set SQ_DATA; {command('demo', 'DIR')} makes one")
        )
    return root


def keymaps_root(given: Path | None) -> Path:
    """The keymaps of the data directory that is meant, the shipped ones where none is."""
    return (find_data_root(given) or shipped_data_root()).resolve() / "keymaps"
