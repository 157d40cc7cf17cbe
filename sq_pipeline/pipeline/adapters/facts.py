"""What is known of an adapter before any of its assets: names, recipe, base model, files, keymaps, prompts.

Not here: how its assets stand (`adapter_status`), what each is made from (a file each).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.dialects import Dialect
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import NAMES_REVISION, select_keymap, select_reading_keymap
from sq_pipeline.adapters.reading_faults import with_whole_commands
from sq_pipeline.adapters.remap.preflight import Preflight, preflight_file, preflight_from
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.source import dialect_of, open_family_adapter
from sq_pipeline.adapters.strength.stated_scales import config_text
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.archive import versions_of
from sq_pipeline.common.errors import AdapterError, Fault, SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.stat_cache import code_stamp
from sq_pipeline.content.clashes import place_in_genre
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.promotions.sign_offs import sign_off_in_use
from sq_pipeline.pipeline.promotions.version_files import put_into_store
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.dataset import base_model_of, fingerprint_folder
from sq_pipeline.training.dataset_files import read_recipe
from sq_pipeline.training.recipe import Recipe, TrainerName
from sq_pipeline.verification.camera import with_word
from sq_pipeline.verification.prompts import VerifyPrompts, load_verify_prompts

_LOADS_AS_IT_IS = ("kohya", "diffusers", "mflux")  # what mflux has names for; all else is remapped
_SAMPLES = 4


def adapter_folder(adapter: Adapter) -> str:
    """`<genre>/loras/<lora>`, in which all assets of an adapter are, with the names as Dagster's keys hold them."""
    return adapter.asset_folder


def asset_name(adapter: Adapter, step: str) -> str:
    """`<genre>/loras/<lora>/<step>`."""
    return f"{adapter_folder(adapter)}/{step}"


def dataset_label(adapter: Adapter) -> str:
    """The name of an adapter's dataset in errors."""
    return f"content/lora-datasets/{adapter.dataset}"


def recipe_of(context: Context, adapter: Adapter) -> Recipe:
    """The adapter's recipe; the defaults for an external file. Raises DatasetError or ContentError."""
    if adapter.dataset is None:
        return Recipe()
    folder = context.data.datasets_root / adapter.dataset
    return context.remember(("recipe", adapter.key), lambda: read_recipe(folder, dataset_label(adapter)))


def trainer_of(context: Context, adapter: Adapter) -> TrainerName:
    """Who trains the adapter: its recipe's trainer, else that of `sq.yaml`."""
    return recipe_of(context, adapter).trainer or context.settings.trainer


def base_model_for(context: Context, adapter: Adapter) -> BaseModel:
    """The base model that the adapter is for: verified with it, and trained over it or its `training_base_of`."""
    return base_model_of(recipe_of(context, adapter), context.base_model_of_adapter(adapter).name)


def folder_inputs(context: Context, adapter: Adapter) -> dict[str, Any]:
    """What the adapter's dataset holds, see `fingerprint_folder`."""
    folder = context.data.datasets_root / str(adapter.dataset)
    key = ("dataset", adapter.key)
    make = lambda: fingerprint_folder(folder, dataset_label(adapter), context.files.hash_of)  # noqa: E731
    return context.remember(key, make)


def external_file(context: Context, adapter: Adapter) -> Path:
    """A file from elsewhere, in its place; raises AdapterError where it is missing."""
    path = context.data.root / adapter.place
    if not path.is_file():
        also = context.data.relative(place_in_genre(context.data, adapter.genre, adapter.file))
        problem = f"is neither there nor at {also}, nor is there a dataset to train it from"
        hint = f"put the file there, add the dataset, or take {adapter.name} out of the style"
        raise AdapterError(Fault(adapter.place, "", problem, hint))
    return path


def missing_file(context: Context, adapter: Adapter) -> tuple[Fault, ...]:
    """The faults of a file from elsewhere, and of its reference, that are not there; none for any other adapter."""
    if adapter.dataset is not None:
        return ()
    faults: tuple[Fault, ...] = ()
    if adapter.reference is not None and not (context.data.datasets_root / adapter.reference).is_dir():
        problem = f"is not there, and {adapter.name} names it as its `reference`"
        hint = "put pictures in its style there, or leave `reference` out"
        faults = (Fault(f"content/lora-datasets/{adapter.reference}", "", problem, hint),)
    try:
        external_file(context, adapter)
    except AdapterError as error:
        return (*error.faults, *faults)
    return faults


def reading_keymap_of(context: Context, adapter: Adapter) -> Keymap | None:
    """The keymap that the adapter is read by for the remap; None where mflux loads the file as it is.

    That is an external file in names of mflux's, and any of another family than FLUX.1: there is no other form of
    those. Raises AdapterError for a file of no dialect that is known, of two, or of another family's names.
    """
    base_model = base_model_for(context, adapter)
    if base_model.family != "flux1":
        if adapter.dataset is None:
            path, family = external_file(context, adapter), base_model.family
            context.remember(("family", adapter.key), lambda: open_family_adapter(path, family))
        return None
    preflight = external_preflight(context, adapter)
    if preflight is not None and preflight.is_ready and _dialect_of_source(context, adapter) in _LOADS_AS_IT_IS:
        return None
    return source_keymap_of(context, adapter)


def external_preflight(context: Context, adapter: Adapter) -> Preflight | None:
    """What is to be known of an adapter from elsewhere before it is used; None for any other, or of another family.

    Raises AdapterError for one that no remap would write.
    """
    keymap = source_keymap_of(context, adapter)
    if adapter.dataset is not None or keymap is None:
        return None
    path = external_file(context, adapter)
    return context.remember(("preflight", adapter.key), lambda: _preflight(context, path, adapter.place, keymap))


def remarks_of(context: Context, adapter: Adapter) -> tuple[str, ...]:
    """What is to be told of an adapter from elsewhere; nothing of one that cannot be used, whose step says why."""
    try:
        preflight = None if adapter.dataset is not None else external_preflight(context, adapter)
    except SqPipelineError:
        return ()
    return () if preflight is None else preflight.remarks


def _preflight(context: Context, path: Path, label: str, keymap: Keymap) -> Preflight:
    file = open_safetensors(path)
    read_by = fingerprint({"rules": keymap.rules_hash, "config": config_text(file), "code": code_stamp()})
    try:
        text = context.files.remember(path, f"preflight {read_by}", lambda: preflight_file(file, keymap).as_text())
    except AdapterError as error:
        raise AdapterError(replace(fault, file=label) for fault in error.faults) from None
    return preflight_from(text)


def source_keymap_of(context: Context, adapter: Adapter) -> Keymap | None:
    """The keymap that says what the adapter means as it was trained; None where the names of its family say it.

    Raises AdapterError or KeymapError.
    """
    if base_model_for(context, adapter).family != "flux1":
        return None
    dialect, root = _dialect_of_source(context, adapter), context.data.keymaps_root
    return context.remember(("read_by", dialect), lambda: select_reading_keymap(root, dialect))


def family_names_of(base_model: BaseModel) -> str:
    """What says what an adapter of another family than FLUX.1 means, for fingerprints."""
    return f"names of {base_model.family}, revision {NAMES_REVISION}"


def _dialect_of_source(context: Context, adapter: Adapter) -> Dialect:
    if adapter.dataset is not None:
        return "mlx"
    path = external_file(context, adapter)
    with with_whole_commands():
        return context.remember(("dialect", adapter.key), lambda: dialect_of(open_safetensors(path)))


def keymap_of(context: Context) -> Keymap:
    """The keymap for the mflux that is installed."""
    version = context.engines.mflux_version
    return context.remember("keymap", lambda: select_keymap(context.data.keymaps_root, "mflux", version))


def verify_prompts_of(context: Context, adapter: Adapter) -> VerifyPrompts:
    """The prompts that adapters of this tier are verified with."""
    return verify_prompts_for(context, adapter.tier)


def verify_prompts_for(context: Context, tier: str) -> VerifyPrompts:
    """Those of a tier. Raises ContentError."""
    return context.remember(("verify", tier), lambda: load_verify_prompts(context.data, tier))


def sample_prompts_of(context: Context, adapter: Adapter) -> tuple[str, ...]:
    """What samples are drawn of while training: the recipe's prompts, or the tier's first ones with the trigger.

    None where the recipe wants no samples.
    """
    recipe = recipe_of(context, adapter)
    if not recipe.draws_samples:
        return ()
    if recipe.sample_prompts:
        return recipe.sample_prompts
    prompts = [item.prompt for item in verify_prompts_of(context, adapter).prompts[:_SAMPLES]]
    return tuple(with_word(recipe.trigger, prompt) for prompt in prompts)


def expected_training_s(context: Context, adapter: Adapter) -> float | None:
    """How long training should take by this adapter's last one, in seconds; None where it never was trained.

    Scaled by the number of pictures that pass through the model: iterations times batch times accumulation.
    """
    last = context.store.read_current(asset_name(adapter, "mlx_adapter"))
    record = context.store.read_record("mlx_adapter", last[0]) if last else None
    if record is None or "wall_s" not in record.info:
        return None
    sizes = ("iterations", "batch_size", "grad_accumulation")
    then = math.prod(record.inputs[f"recipe.{name}"] for name in sizes)
    now = math.prod(getattr(recipe_of(context, adapter), name) for name in sizes)
    encode_s = record.info["encode_s"]
    return encode_s + (record.info["wall_s"] - encode_s) * now / then


def recovered_record(context: Context, adapter: Adapter, step: Step, can_lack: Sequence[str]) -> Record | None:
    """The record of an asset whose objects the store has lost, from the adapter's file or its archive; or None."""
    return context.recover(step, lambda: versions_of(context.data.lora_root / adapter.file), can_lack)


def promoted_record(context: Context, adapter: Adapter) -> Record | None:
    """The promoted adapter that pictures stand on, which may be older than what the line would make now.

    The store knows it; where the store was deleted, the manifest and the file it names tell the same.
    """
    asset = asset_name(adapter, "promoted_adapter")
    current = context.store.read_current(asset)
    if current is not None:
        record = context.store.read_record("promoted_adapter", current[0])
        if record is not None:
            return record
    return context.remember(("promoted", adapter.key), lambda: _promoted_by_manifest(context, adapter))


def _promoted_by_manifest(context: Context, adapter: Adapter) -> Record | None:
    sign_off = sign_off_in_use(context.data, adapter)
    if sign_off is None or (adapter.dataset is None and sign_off.adapter_sha256 is None):
        return None
    stored = put_into_store(context, adapter, sign_off)
    if stored is None:
        return None
    inputs = {"adapter": sign_off.adapter_version, "manifest": True}
    return Record(
        kind="promoted_adapter",
        fingerprint=fingerprint(inputs),
        inputs=inputs,
        data_version=sign_off.adapter_version,
        objects={"adapter": stored},
        info={"promoted_by": sign_off.promoted_by, "file": adapter.file},
    )
