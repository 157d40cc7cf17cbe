"""`gate/<base model>.yaml`: the calibrated limits of a base model, a data directory's own or the shipped ones."""

from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.common.strict_yaml import load_mapping, validate
from sq_pipeline.verification.gate_limits import GateCalibration


def load_calibration(data: DataDir, base_model: str) -> GateCalibration | None:
    """What was found for a base model in this data directory, else what is shipped; None where nothing is.

    Raises ContentError for a file that cannot be used.
    """
    for root in (data.root, shipped_data_root()):
        path = root / "gate" / f"{base_model}.yaml"
        if path.is_file():
            file = f"gate/{base_model}.yaml"
            return validate(GateCalibration, load_mapping(path, file), file)
    return None
