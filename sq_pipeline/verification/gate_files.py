"""`gate/<base model>.yaml`: the calibrated limits of a base model, a data directory's own or the shipped ones."""

from pathlib import Path

from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.common.strict_yaml import dump_yaml, load_mapping, validate
from sq_pipeline.verification.gate_limits import GateCalibration

_HEADER = """\
# The limits of the gate's picture checks over {base_model}, found on adapters that were trained in varied styles,
# and on the same ones broken in every way that is known. `nothing` is what an adapter without any effect gives, `good`
# the median of good ones. A file of this name in a data directory's `gate` folder takes its place.
"""


def load_calibration(data: DataDir, base_model: str) -> GateCalibration | None:
    """What was found for a base model in this data directory, else what is shipped; None where nothing is.

    Raises ContentError for a file that cannot be used.
    """
    return _read(data.root, base_model) or load_shipped(base_model)


def load_shipped(base_model: str) -> GateCalibration | None:
    """What is shipped for a base model; None where nothing is."""
    return _read(shipped_data_root(), base_model)


def write_calibration(calibration: GateCalibration) -> str:
    """The file's text; equal limits give equal texts."""
    return _HEADER.format(base_model=calibration.base_model) + dump_yaml(calibration.model_dump())


def _read(root: Path, base_model: str) -> GateCalibration | None:
    path, file = DataDir(root).gate_root / f"{base_model}.yaml", f"gate/{base_model}.yaml"
    return validate(GateCalibration, load_mapping(path, file), file) if path.exists() else None
