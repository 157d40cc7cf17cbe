"""An adapter opened for the gate, and its null beside it: the same file with its outputs exchanged at random."""

from pathlib import Path

from sq_pipeline.adapters.reading import AS_LOADERS_MEAN
from sq_pipeline.adapters.rotated import write_rotated
from sq_pipeline.adapters.source import AdapterSource, open_adapter, open_family_adapter
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import AdapterError


def open_with_null(path: Path, base_model: BaseModel, folder: Path) -> tuple[AdapterSource | None, Path | None]:
    """What the file adds, and a file in `folder` that is its null; None twice for one that cannot be opened, which the
    check of its fidelity says.
    """
    try:
        if base_model.family == "flux1":
            source = open_adapter(path, options=AS_LOADERS_MEAN)
        else:
            source = open_family_adapter(path, base_model.family)
        target = folder / f"null-of-{path.name}"
        write_rotated(source, target)
    except AdapterError:
        return None, None
    return source, target
