"""An adapter from elsewhere, looked at before it is used: may it be taken as it is, and what is to be told of it.

mflux takes many files as they are. One whose strength stands where mflux does not look, or whose names it does not
know, has to be remapped first; one that no remap would write is no adapter to use.
"""

import json
import math
from dataclasses import asdict, dataclass

from sq_pipeline.adapters.base_named import other_base
from sq_pipeline.adapters.inspect.findings import lines_of
from sq_pipeline.adapters.inspect.loader_names import unread_names
from sq_pipeline.adapters.inspect.scale_findings import judge_patches
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.reading import AS_LOADERS_MEAN
from sq_pipeline.adapters.reading_faults import for_other_commands, with_whole_commands
from sq_pipeline.adapters.remap.doubts import remarks_on
from sq_pipeline.adapters.remap.unapplied import leave_out_unapplied
from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.adapters.source import read_adapter
from sq_pipeline.adapters.tensor_scan import scan_tensors
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.common.fingerprints import fingerprint


@dataclass(frozen=True)
class Preflight:
    """`is_ready`: mflux knows all its names, and takes the strength that the file says. `strength`: the scales, where
    mflux would take others; empty else. `remarks`: a line each.
    """

    is_ready: bool
    strength: str = ""
    remarks: tuple[str, ...] = ()

    def as_text(self) -> str:
        """To be kept."""
        return json.dumps(asdict(self))


def preflight_from(text: str) -> Preflight:
    """What `as_text` gave."""
    values = json.loads(text)
    return Preflight(values["is_ready"], values["strength"], tuple(values["remarks"]))


def preflight_file(file: SafetensorsFile, keymap: Keymap) -> Preflight:
    """Look at an adapter of FLUX.1's; raises AdapterError where a remap would stop, with the command that goes on."""
    adapter, reading = read_adapter(file, keymap, AS_LOADERS_MEAN)
    patches = adapter.patches.values()
    is_as_loaded = not reading.faults and all(
        math.isclose(adapter.loaded.get(patch.slot, 1.0), patch.scale, rel_tol=1e-9) for patch in patches
    )
    names = [] if keymap.source == "mflux" else unread_names("mflux >=0.19", list(file.tensors))
    if reading.faults or names or not is_as_loaded:
        # what is to be remapped is read as by a remap that nobody told anything
        adapter, reading = read_adapter(file, keymap)
        if reading.faults:
            raise AdapterError(map(for_other_commands, reading.faults))
    if not is_as_loaded or names:
        with with_whole_commands():
            leave_out_unapplied(adapter, "mflux", is_allowed=False)
    zeros = scan_tensors(file).zeros
    negative = [finding for finding in judge_patches(patches, zeros) if not finding.is_remark]
    said = other_base(file)
    remarks = (
        *remarks_on(adapter, zeros),
        *lines_of(negative, len(patches)),
        *([f"{said}; its names and shapes are FLUX.1's"] if said else []),
    )
    strength = "" if is_as_loaded else fingerprint({patch.slot: patch.scale for patch in patches})
    return Preflight(not names and is_as_loaded, strength, remarks)
