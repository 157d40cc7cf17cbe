"""A process that trains one adapter ahead of the run that will want it: `python -m sq_pipeline.defs.train_ahead`.

Arguments: the data directory, the adapter's key, the fingerprint that its training must have, and `scores` where no
other training waits for this process. It leaves checkpoints, and then the scores of those that are kept: the run that
started it makes the records of assets, and holds the lock.
"""

import sys
from pathlib import Path

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.passed_on import PassesOn
from sq_pipeline.common.processes.progress import shown_by
from sq_pipeline.pipeline.adapters.train_ahead import train_ahead
from sq_pipeline.pipeline.context import Context
from sq_pipeline.wiring import real_engines


def main(root: str, key: str, fingerprint: str, *more: str) -> int:
    """Train; a fault is one line, and told again by the run, which meets it too."""
    data = DataDir(Path(root))
    try:
        pipeline = Context(data, real_engines(data))
        with shown_by(PassesOn()):
            train_ahead(pipeline, pipeline.adapter(key), fingerprint, scores="scores" in more)
    except SqPipelineError as error:
        sys.stderr.write(f"{error.faults[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
