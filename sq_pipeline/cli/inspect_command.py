"""`sq-pipeline adapter inspect`: the report on a file, for people and as JSON. Not here: what the report says."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sq_pipeline.cli.blas_threads import one_blas_thread
from sq_pipeline.cli.options import JsonOption
from sq_pipeline.cli.printing import print_json, print_line, print_table

if TYPE_CHECKING:
    from sq_pipeline.adapters.inspect.loader_verdicts import LoaderAnswer
    from sq_pipeline.adapters.inspect.report import AdapterReport, ModuleRow

_SHOWN = 8  # different ranks, scales or alphas in the summary


def register(adapter: typer.Typer) -> None:
    """Add the command to the `adapter` group."""

    @adapter.command()
    def inspect(
        file: Path,
        modules: Annotated[bool, typer.Option("--modules", help="A line for each module.")] = False,
        spectrum: Annotated[bool, typer.Option("--spectrum", help="How many directions each update uses.")] = False,
        loader: Annotated[
            str | None,
            typer.Option(help="A loader and its version: not loading rightly in it is a fault.", metavar="LOADER"),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Say what an adapter file is: dialect, modules, ranks, strength, which loaders apply it, faults.

        LOADER is `mflux 0.18.1`, diffusers, ComfyUI or sd-scripts.
        """
        with one_blas_thread():
            from sq_pipeline.adapters.inspect.inspect import report_adapter
        from sq_pipeline.adapters.adapter_folder import adapter_file_of

        report = report_adapter(adapter_file_of(file), with_spectrum=spectrum, loader=loader, ask=_ask_mflux)
        if as_json:
            print_json(report.as_json())
        else:
            _print(report, with_modules=modules or spectrum)


def _ask_mflux(path: Path, names: Sequence[str]) -> "Sequence[LoaderAnswer]":
    """Only a file that is for another family than FLUX.1 needs it, and the engines with it."""
    from sq_pipeline.wiring import ask_mflux

    return ask_mflux(path, names)


def _print(report: "AdapterReport", *, with_modules: bool) -> None:
    from sq_pipeline.adapters.inspect.metadata_text import shown

    if with_modules:
        columns = ("module", "rank", "alpha", "scale", "dtype", "norm", "effective rank")
        print_table(columns, map(_cells, report.rows))
    print_table(("", ""), _summary(report))
    print_table(("metadata", ""), [(shown(key), shown(text)) for key, text in sorted(report.metadata.items())])
    verdicts = [(verdict.loader, verdict.answer, verdict.reason) for verdict in report.loads_in]
    print_table(("loads in", "", ""), verdicts)
    for remark in report.remarks:
        print_line(f"remark: {remark}")
    for fault in report.faults:
        print_line(f"fault: {fault}")


def _summary(report: "AdapterReport") -> Iterator[tuple[str, str]]:
    fit = report.fit
    yield "file", f"{report.file}, {report.file_bytes:,} bytes"
    yield "dialect", report.dialect
    if report.method != "LoRA":
        yield "method", report.method
    yield "base model", " or ".join(fit.base_models) or "unknown"
    yield "tensors", f"{report.tensors} ({_counted(report.dtypes.items())})"
    if fit.modules:
        yield "modules covered", f"{fit.covered} of {fit.modules}"
    if fit.missing:
        yield "missing", "; ".join(fit.missing)
    if report.rows:
        yield "rank", _counted(report.ranks.items())
        yield "alpha", ", ".join(f"{alpha:g}" for alpha in report.alphas[:_SHOWN]) or "not in the file"
        yield "effective scale", _counted((f"{scale:g}", count) for scale, count in report.scales.items())
        yield "update norm", f"{report.update_norm:.4g}"


def _counted(counts: Iterable[tuple[object, int]]) -> str:
    """`8 in 300 modules, 16 in 4`; one value alone is not counted."""
    pairs = list(counts)
    if len(pairs) == 1:
        return str(pairs[0][0])
    told = ", ".join(f"{value} in {count}" for value, count in pairs[:_SHOWN])
    return f"{told} and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else told


def _cells(row: "ModuleRow") -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    alpha = number(row.alpha) + (f" ({row.alpha_source})" if row.alpha_source not in ("", "tensor") else "")
    norms = (number(row.update_norm), number(row.effective_rank))
    return row.slot, str(row.rank), alpha, number(row.scale), row.dtype, *norms
