"""`adapter fidelity`: what mflux's loader really applies of a file, layer by layer. Renders nothing."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sq_pipeline.base_models.base_models import Dtype
from sq_pipeline.cli.options import DataOption, JsonOption, SourceOption
from sq_pipeline.cli.printing import print_judgement, print_line
from sq_pipeline.common.hints import command, option
from sq_pipeline.common.layout import data_root


class Bits(StrEnum):
    """Bits of a quantized weight."""

    EIGHT = "8"
    FOUR = "4"


_BITS: dict[Bits, Literal[4, 8]] = {Bits.EIGHT: 8, Bits.FOUR: 4}


def _measure(
    file: Path, source: Path, root: Path, base_model: str | None, is_baked: bool, dtype: Dtype | None, bits: Bits | None
) -> tuple[dict[str, Any], str]:
    """The report as plain values, and as Markdown."""
    from sq_pipeline.adapters.form import AdapterUse
    from sq_pipeline.adapters.inspect.inspect import name_base_model
    from sq_pipeline.base_models.base_models import resolve_base_model
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.settings import load_settings
    from sq_pipeline.verification.measure_fidelity import measure_fidelity, reading_for
    from sq_pipeline.verification.report import layer_lines, threshold_lines
    from sq_pipeline.verification.verdicts import judge_fidelity
    from sq_pipeline.wiring import real_engines

    data = open_data_dir(root)
    model = resolve_base_model(base_model or name_base_model(file) or "tiny-flux")
    if bits is not None and model.render_bits not in (None, _BITS[bits]):
        raise typer.BadParameter(f"{model.name} has {model.render_bits} bits itself", param_hint="--bits")
    limits = load_settings(data).thresholds.fidelity
    report = measure_fidelity(
        AdapterUse(file.resolve(), 1.0),
        source,
        model,
        real_engines(data).fidelity_meter(),
        reading_for(source, model, data.keymaps_root),
        is_baked=is_baked,
        dtype=dtype,
        bits=None if bits is None else _BITS[bits],
    )
    verdict = judge_fidelity(report, limits)
    hint = _hint(file, report.unmatched_keys, model.family)
    values = {
        "file": file.name,
        "source": source.name,
        "has_passed": verdict.outcome == "passed",
        "wanted": verdict.threshold,
        "detail": verdict.detail,
        "hint": hint,
        "thresholds": limits.model_dump(),
        **report.as_json(),
    }
    title = f"# {file.name}: fidelity {verdict.outcome}"
    wanted = f"Wanted: {verdict.threshold}. Found: {verdict.detail}."
    return values, "\n".join([title, "", wanted, "", *layer_lines(report), "", *threshold_lines(limits)])


def _hint(file: Path, unmatched: Sequence[str], family: str) -> str:
    """What makes a file of names that mflux knows, where some are not."""
    if not unmatched or family != "flux1":
        return ""
    way = command("adapter remap", file, "OUT", "--target", "mflux")
    return f"mflux does not know {len(unmatched)} of its names: {way} writes those that it knows."


def register(adapter: typer.Typer) -> None:
    """Add the command to the `adapter` group."""

    @adapter.command()
    def fidelity(
        file: Path,
        source: SourceOption = None,
        base_model: Annotated[
            str | None, typer.Option(help="The base model it was trained for; otherwise what `adapter inspect` names.")
        ] = None,
        baked: Annotated[bool, typer.Option("--baked", help="Measure what a bake into the weights keeps.")] = False,
        bits: Annotated[Bits | None, typer.Option(help="Bake into weights that are stored at so many bits.")] = None,
        dtype: Annotated[Dtype | None, typer.Option(help="Compute in this; otherwise as pictures are.")] = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Measure what the installed mflux applies of a file against its source; exit 1 below the thresholds."""
        from sq_pipeline.adapters.adapter_folder import adapter_file_of

        if bits is not None and not baked:
            raise typer.BadParameter(
                f"an update that is not baked in loses nothing to them; add {option('adapter fidelity', '--baked')}",
                param_hint="--bits",
            )
        file = adapter_file_of(file)
        report, markdown = _measure(file, source or file, data_root(data), base_model, baked, dtype, bits)
        if report["hint"] and not as_json:
            print_line(report["hint"])
        print_judgement(report, markdown, as_json=as_json)
