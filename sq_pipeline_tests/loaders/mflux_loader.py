"""mflux in any version, asked in a process of its own: one process for a whole list of files."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mflux
import numpy as np

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline_tests.loaders.layers import layers_of, put_together
from sq_pipeline_tests.loaders.outcomes import MFLUX_LOCKED, Applied, Loader, NotRun, Outcome, Refused
from sq_pipeline_tests.loaders.wheels import wheel_folder

_WORKER = Path(__file__).with_name("mflux_worker.py")


def apply_with_mflux(loader: Loader, files: Sequence[tuple[Path, Flux1Model]]) -> list[Outcome]:
    """One outcome for each file."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    if loader == MFLUX_LOCKED:
        folder = Path(mflux.__file__ or "").parent
    else:
        found = wheel_folder("mflux", loader.version)
        if isinstance(found, NotRun):
            return [found] * len(files)
        folder = found.resolve()
        environment["PYTHONPATH"] = str(folder)
    with tempfile.TemporaryDirectory() as answers:
        jobs = [
            {
                "file": str(file.resolve()),
                "hidden_size": base_model.hidden_size,
                "layers": {layer.path: (layer.inputs, layer.outputs) for layer in layers_of(base_model, "mflux")},
                "answer": str(Path(answers) / f"{index}.npz"),
            }
            for index, (file, base_model) in enumerate(files)
        ]
        # -P: the worker's own folder must not be on its path
        done = subprocess.run(
            [sys.executable, "-P", str(_WORKER)],
            input=json.dumps({"folder": str(folder), "jobs": jobs}),
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the worker of {loader} failed: {done.stderr}")
        answer = json.loads(done.stdout)
        if "not_run" in answer:
            return [NotRun(f"{loader} does not import: {answer['not_run']}")] * len(files)
        outcomes: list[Outcome] = []
        for job, said, (_, base_model) in zip(jobs, answer["files"], files, strict=True):
            if "refused" in said:
                outcomes.append(Refused(said["refused"]))
                continue
            with np.load(job["answer"]) as deltas:
                updates = put_together(base_model, layers_of(base_model, "mflux"), dict(deltas))
            outcomes.append(Applied(updates, said["complaints"]))
    return outcomes
