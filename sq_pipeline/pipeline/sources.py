"""The sources: what a person writes and brings, at which the lineage begins. Each has a data version of its own.

What of a source an asset depends on is in that asset's inputs (`inputs`); a source only shows where they come from.
Not here: how Dagster has them (`defs.sources`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.base_models.base_models import DEFAULT_BASE_MODEL, resolve_base_model
from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.names import key_parts
from sq_pipeline.common.tiers import find_tier
from sq_pipeline.content.choices import read_choices
from sq_pipeline.content.records import Adapter, Catalog, World
from sq_pipeline.pipeline.adapters.facts import asset_name, external_file, folder_inputs, recipe_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.world_state import world_asset
from sq_pipeline.settings import Settings
from sq_pipeline.training.dataset_files import read_recipe

SETTINGS = "sq_yaml"
_ABSENT = "not there"


@dataclass(frozen=True)
class Source:
    """`asset`: what it is called. `version`: its data version now; raises SqPipelineError for one that cannot be read,
    KeyError for one that is gone. `faults`: what is wrong with one that can.

    `genre` is the one it belongs to, as Dagster's keys hold it; empty for what all share.
    """

    asset: str
    description: str
    version: Callable[[Context], str]
    genre: str = ""
    faults: Callable[[Context], Sequence[Fault]] = lambda _: ()


class Sources:
    """The sources of a data directory, and which of them a world and an adapter have, by kind."""

    def __init__(self, data: DataDir, catalog: Catalog, settings: Settings) -> None:
        self._data, self._catalog, self._settings = data, catalog, settings

    def of_world(self, world: World) -> dict[str, Source]:
        """Those of a world: `sq_yaml`, `visual_style` and `choices` (the genre's), `yaml` (its own),
        `verify_prompts/<tier>`, `base_model`, `gate`.
        """
        part, name = world.genre_part, world.key
        found = {
            SETTINGS: _settings(),
            "visual_style": _file(
                f"{part}/visual_style", self._data.genre_root(world.genre) / "visual_style.yaml", self._data, part
            ),
            "yaml": Source(
                world_asset(world, "yaml"),
                f"All that was read for the world {name}.",
                lambda context: context.catalog.worlds[name].source,
                part,
                lambda context: context.catalog.faults.get(name, ()),
            ),
            "choices": self._choices(world, part),
        }
        found |= {f"verify_prompts/{tier}": self._verify_prompts(tier) for tier in world.tiers}
        return found | self._base_model(self._settings.base_model or world.style.preferred_model)

    def of_adapter(self, adapter: Adapter) -> dict[str, Source]:
        """Those of an adapter: `sq_yaml`, `keymaps`, `verify_prompts`, `base_model`, `gate`, and its `dataset_folder`
        or `source_file`.
        """
        part, key = adapter.asset_folder.partition("/")[0], adapter.key
        if adapter.dataset is None:
            own, what, version = "source_file", f"The file {adapter.place}, from elsewhere.", _version_of_file
        else:
            own, what = (
                "dataset_folder",
                f"The folder content/lora-datasets/{adapter.dataset}: pictures, captions, recipe.",
            )
            version = _version_of_folder
        found = {
            SETTINGS: _settings(),
            "keymaps": Source("keymaps", "How adapters of all dialects are read and written.", _version_of_keymaps),
            "verify_prompts": self._verify_prompts(adapter.tier),
            own: Source(
                asset_name(adapter, own), what, lambda context: version(context, context.catalog.adapters[key]), part
            ),
        }
        return found | self._base_model(self._trained_over(adapter))

    def all(self) -> dict[str, Source]:
        """All that there are, by what they are called."""
        found = [self.of_world(world) for world in self._catalog.worlds.values()]
        found += map(self.of_adapter, self._catalog.adapters.values())
        return {source.asset: source for sources in found for source in sources.values()}

    def _trained_over(self, adapter: Adapter) -> str | None:
        if adapter.dataset is not None:
            try:
                folder = self._data.datasets_root / adapter.dataset
                if named := read_recipe(folder, adapter.dataset).base_model:
                    return named
            except SqPipelineError:
                return None  # its step says why
        first = self._catalog.first_world_of(adapter)
        return self._settings.base_model or (first.style.preferred_model if first else None)

    def _verify_prompts(self, tier: str) -> Source:
        file = self._data.verify_prompts_root / f"{tier}.yaml"
        return _file(f"verify_prompts/{_tier_part(tier)}", file, self._data)

    def _choices(self, world: World, part: str) -> Source:
        """What people chose of the genre's pictures, with what is wrong in it."""
        path = self._data.picture_choices(world.genre)
        return Source(
            f"{part}/choices",
            f"What people chose of pictures: the file {self._data.relative(path)}.",
            lambda context: _hash(context, path),
            part,
            lambda context: read_choices(context.data, world.genre).faults,
        )

    def _base_model(self, name: str | None) -> dict[str, Source]:
        """`base_model`, and `gate`, the limits that were found over it."""
        try:
            base_model = resolve_base_model(name or DEFAULT_BASE_MODEL)
        except SqPipelineError:
            return {}  # what wants it says so
        what, key = f"The weights of {base_model.name}.", base_model.name.replace("-", "_").replace(".", "_")
        weights = Source(f"base_models/{key}", what, lambda context: context.weights_hash(base_model))
        return {
            "base_model": weights,
            "gate": _file(f"gate/{key}", self._data.gate_root / f"{base_model.name}.yaml", self._data),
        }


def _tier_part(tier: str) -> str:
    """A tier as a part of a key. One that a person made up ends in digits of a hash, so that no other key is alike."""
    other = f"{tier}, made up"
    return tier if find_tier(tier) else key_parts([other])[other]


def _settings() -> Source:
    return Source(SETTINGS, "The settings, sq.yaml.", lambda context: _hash(context, context.data.settings_file))


def _file(asset: str, path: Path, data: DataDir, genre: str = "") -> Source:
    return Source(asset, f"The file {data.relative(path)}.", lambda context: _hash(context, path), genre)


def _hash(context: Context, path: Path) -> str:
    return context.files.hash_of(path) if path.is_file() else _ABSENT


def _version_of_keymaps(context: Context) -> str:
    return fingerprint({path.name: _hash(context, path) for path in context.data.keymaps_root.glob("*.yaml")})


def _version_of_file(context: Context, adapter: Adapter) -> str:
    return context.files.hash_of(external_file(context, adapter))


def _version_of_folder(context: Context, adapter: Adapter) -> str:
    recipe_of(context, adapter)  # a recipe that cannot be read is told of the folder
    return fingerprint(folder_inputs(context, adapter))
