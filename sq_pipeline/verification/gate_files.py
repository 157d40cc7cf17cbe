"""`gate/<base model>.yaml`: the calibrated limits of a base model, a data directory's own or the shipped ones."""

from pathlib import Path

from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.common.strict_yaml import load_mapping, validate
from sq_pipeline.verification.gate_limits import GateCalibration


def load_calibration(data: DataDir, base_model: str) -> GateCalibration | None:
    """What was found for a base model in this data directory, else what is shipped; None where nothing is.

    Raises ContentError for a file that cannot be used.
    """
    return _read(data.root, base_model) or load_shipped(base_model)


def load_shipped(base_model: str) -> GateCalibration | None:
    """What is shipped for a base model; None where nothing is."""
    return _read(shipped_data_root(), base_model)


def _read(root: Path, base_model: str) -> GateCalibration | None:
    path, file = root / "gate" / f"{base_model}.yaml", f"gate/{base_model}.yaml"
    return validate(GateCalibration, load_mapping(path, file), file) if path.exists() else None
