"""`sq-pipeline doctor`: what this machine is, and what is ready on it. Not here: how engines find their files."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.base_models import files
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.common.hints import command

_SLOW_GFLOPS = 30.0
# reported in https://github.com/ml-explore/mlx/issues/3267, with what helped; caffeinate(8), pmset(1)
_MAC_NIGHT = (
    "sleep: while it trains, `caffeinate -i` keeps this Mac awake, unless its lid is closed. Pages that wait for the "
    "night are to be kept awake by you: `caffeinate -i sq-pipeline ui`",
    "GPU watchdog: macOS can end a training (SIGABRT, Impacting Interactivity) while the display is on: turn it off "
    "with `pmset displaysleepnow`. Some were helped by `AGX_RELAX_CDM_CTXSTORE_TIMEOUT=1 sq-pipeline run`, at the cost "
    "of a display that answers slowly. See https://github.com/ml-explore/mlx/issues/3267",
)


def collect(named: Path | None) -> dict[str, Any]:
    """Everything that `doctor` shows, as one JSON-able object. `advice` lists what to do about what is not well.

    `named` is the data directory; None where none is named: then base models are those that the package carries.
    """
    from sq_pipeline.base_models.base_models import RENDER_BITS, quantized, resolve_base_model
    from sq_pipeline.common.layout import DataDir, shipped_data_root
    from sq_pipeline.engines import blas, machine

    root = (named or shipped_data_root()).resolve()
    blas_report = blas.preload()
    gflops = blas.measure_gflops()
    advice: list[str] = []
    if gflops < _SLOW_GFLOPS and blas_report.mend:
        advice.append(f"MLX multiplies at {gflops:.0f} GFLOP/s only: `{blas_report.mend}` makes it faster")
    models = [
        {
            "name": name,
            "is_ready": is_ready,
            "where": (where if named else str(root / where)) if is_ready else None,
            "how_to_get": None if is_ready else where,
            "quantized": [quantized(resolve_base_model(name), bits).name for bits in RENDER_BITS],
        }
        for name, is_ready, where in files.readiness(DataDir(root))
    ]
    if named is None:
        advice.append(f"no data directory is named (--data, SQ_DATA): {command('demo', 'DIR')} makes one")
    elif not (root / "content").is_dir():
        advice.append(f"{named} is not a data directory: {command('demo', _free_place(named))} makes one")
    return {
        "chip": machine.chip_name(),
        "memory_bytes": machine.memory_bytes(),
        "python": sys.version.split()[0],
        "versions": {name: machine.version_of(name) for name in ("sq-pipeline", "mlx", "mflux", "dagster")},
        "blas": {
            "name": blas_report.name,
            "path": str(blas_report.path) if blas_report.path else None,
            "note": blas_report.note,
            "float32_matmul_gflops": round(gflops, 1),
        },
        "work": _share_work(),
        "base_models": models,
        "night": night_notes(sys.platform),
        "advice": advice,
    }


def _free_place(named: Path) -> Path:
    """Where `demo` can make a data directory: there, or beside what is there already."""
    beside = (named.with_name(f"{named.name}-{number}") for number in range(2, 1000))
    free = (place for place in (named, *beside) if not place.exists() or (place.is_dir() and not any(place.iterdir())))
    return next(free, named)


def night_notes(platform: str) -> list[str]:
    """What to know of a machine that is to train through a night: its sleep, and what ends GPU work."""
    if platform == "darwin":
        return list(_MAC_NIGHT)
    inhibits = shutil.which("systemd-inhibit")
    way = f"; `{inhibits} --what=idle:sleep sq-pipeline run` does" if inhibits else ", its own settings decide"
    return [f"sleep: nothing is started here to keep the machine awake{way}", "GPU watchdog: only macOS has one"]


def _share_work() -> list[dict[str, Any]]:
    """In how many processes, and of how many BLAS threads each (None: MLX's own), each kind of work is done here."""
    from sq_pipeline.base_models.base_models import resolve_base_model
    from sq_pipeline.engines import blas, machine

    tiny, wide = (blas.threads_for(resolve_base_model(name)) for name in ("tiny-flux", "flux1-dev"))
    return [
        {"work": "training over tiny-flux", "processes": machine.training_processes(), "blas_threads": tiny},
        {"work": "scoring, verifying and rendering with tiny-flux", "processes": 1, "blas_threads": tiny},
        {"work": "all work with other base models", "processes": 1, "blas_threads": wide},
    ]


def collect_trainings(data_root: Path) -> dict[str, Any]:
    """What each training of the data directory needs of this machine's memory, as one JSON-able object."""
    from sq_pipeline.common.layout import DataDir
    from sq_pipeline.engines import factory
    from sq_pipeline.pipeline.adapters.training_needs import fit_trainings
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.wiring import real_engines

    data = DataDir(data_root.resolve())
    usable_bytes = factory.usable_memory_bytes()
    dtype = factory.computing_dtype()
    fits, faults = fit_trainings(Context(data, real_engines(data)), usable_bytes, dtype)
    trainings = [fit.as_json() for fit in fits]
    return {"usable_memory_bytes": usable_bytes, "dtype": dtype, "trainings": trainings, "faults": faults}


def _show_trainings(report: dict[str, Any]) -> None:
    print_line(f"memory for a training, of {_gib(report['usable_memory_bytes'])} GiB that MLX may use, in GiB:")
    rows: list[tuple[str, ...]] = []
    for row in report["trainings"]:
        optimizer = row["adapter_bytes"] + row["gradients_bytes"] + row["optimizer_bytes"]
        activations = row["activations_bytes"] + row["margin_bytes"]
        samples = row["samples_bytes"] + row["beyond_step_bytes"]
        parts = " + ".join(map(_gib, (row["weights_bytes"], optimizer, activations, samples)))
        name = row["name"] if row["name"] == row["base_model"] else f"{row['name']} ({row['base_model']})"
        rows.append(
            (name, row["dtype"], row["fits_with"], parts, _gib(row["encoders_bytes"]), _gib(row["total_bytes"]))
        )
    parts = "weights + optimizer + activations + samples"
    print_table(("training", "computes in", "fits with", parts, "encoding", "needs"), rows)
    for row in report["trainings"]:
        for fault in row["faults"]:
            print_line(f"{row['name']}: {fault}")
    for fault in report["faults"]:
        print_line(f"fault: {fault}")


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f}"


def _show(report: dict[str, Any]) -> None:
    print_line(f"{report['chip']}, {report['memory_bytes'] / 2**30:.0f} GiB, Python {report['python']}")
    print_line(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    blas = report["blas"]
    print_line(f"BLAS: {blas['name']}, {blas['float32_matmul_gflops']} GFLOP/s in float32 ({blas['note']})")
    print_table(
        ("work", "processes", "BLAS threads each"),
        [(w["work"], str(w["processes"]), str(w["blas_threads"] or "MLX's own")) for w in report["work"]],
    )
    print_table(
        ("base model", "ready", "where it is, or how to get it"),
        [(m["name"], "yes" if m["is_ready"] else "no", m["where"] or m["how_to_get"]) for m in report["base_models"]],
    )
    example = report["base_models"][0]["quantized"]
    print_line(
        f"each is rendered from the same files at 8 or 4 bits under another name, such as {' or '.join(example)}"
    )
    for line in (*report["night"], *report["advice"]):
        print_line(line)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    from sq_pipeline.cli.options import DataOption, JsonOption
    from sq_pipeline.common.layout import data_root, find_data_root

    @app.command()
    def doctor(
        data: DataOption = None,
        as_json: JsonOption = False,
        train: Annotated[
            bool, typer.Option("--train", help="Also show what each training needs of this machine's memory.")
        ] = False,
    ) -> None:
        """Show chip, memory, versions, BLAS speed, and which base models are ready."""
        report = collect(find_data_root(data))
        training = collect_trainings(data_root(data)) if train else None
        if as_json:
            print_json(report if training is None else {**report, "training": training})
            return
        _show(report)
        if training is not None:
            _show_trainings(training)
