"""`sq-pipeline adapter remap`: an adapter file under another loader's names."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.cli.blas_threads import one_blas_thread
from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.storage.layout import data_root


class Target(StrEnum):
    """What a file can be remapped to."""

    MFLUX = "mflux"
    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    MLX = "mlx"


class Source(StrEnum):
    """What a file can be read as, where its names do not tell."""

    MLX = "mlx"
    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    BFL = "bfl"
    XLABS = "xlabs"
    ONETRAINER = "onetrainer"
    ONETRAINER_OMI = "onetrainer-omi"
    MFLUX = "mflux"
    MFLUX_BEFORE_019 = "mflux-before-0.19"


class Allowed(StrEnum):
    """Doubts that a remap stops at."""

    ZERO = "zero"
    STRENGTH = "strength"
    BASE = "base"
    METADATA = "metadata"


class MissingAlpha(StrEnum):
    """What an alpha that is missing means."""

    REFUSE = "refuse"
    RANK = "rank"


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def register(adapter: typer.Typer) -> None:
    """Add the command to the `adapter` group."""

    @adapter.command()
    def remap(
        source: Annotated[Path, typer.Argument(metavar="IN")],
        output: Annotated[Path, typer.Argument(metavar="OUT")],
        target: Annotated[
            Target, typer.Option(help="Whose names to write; mlx means mlx-examples, mflux the installed version.")
        ],
        source_dialect: Annotated[
            Source | None, typer.Option("--from", help="Read it as this, where its names do not tell.")
        ] = None,
        missing_alpha: Annotated[
            MissingAlpha, typer.Option(help="What to make of an alpha that is missing: rank means scale 1.")
        ] = MissingAlpha.REFUSE,
        without_text_encoder: Annotated[
            bool, typer.Option("--without-text-encoder", help="Leave the text encoders' part of the file out.")
        ] = False,
        allow: Annotated[
            list[Allowed] | None,
            typer.Option(
                help="Go on although it changes nothing (zero), is far too strong or weak (strength), fits no FLUX.1 "
                "known here (base), or its metadata names a path (metadata). Can be given several times."
            ),
        ] = None,
        loader_version: Annotated[
            str | None, typer.Option(help="Write for this version of the target's loader, such as 0.18.1.")
        ] = None,
        keymap_file: Annotated[
            Path | None, typer.Option("--keymap", help="Write by this keymap instead of choosing one.")
        ] = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Write an adapter of any dialect under a loader's names; whole, or not at all."""
        with one_blas_thread():
            from sq_pipeline.stages.adapter_source import reading_keymap_for
            from sq_pipeline.stages.remap import remap_adapter
        from sq_pipeline.core.adapter_reading import ReadOptions
        from sq_pipeline.engines.machine import version_of
        from sq_pipeline.storage.keymaps import choose_keymap
        from sq_pipeline.storage.safetensors_file import open_safetensors

        root = data_root(data).resolve() / "keymaps"
        version = loader_version or (version_of("mflux") if target is Target.MFLUX else None)
        keymap = choose_keymap(root, target.value, version, keymap_file)
        dialect = None if source_dialect is None else source_dialect.value
        result = remap_adapter(
            source,
            output,
            keymap,
            reading=reading_keymap_for(open_safetensors(source), root, dialect),
            options=ReadOptions(missing_alpha is MissingAlpha.RANK, without_text_encoder),
            allowed=[doubt.value for doubt in allow or ()],
        )
        if as_json:
            print_json(result.as_json())
            return
        values = result.as_json()
        notes = values.pop("notes")
        print_table(("", ""), [(name, _as_text(value)) for name, value in values.items()])
        for note in notes:
            print_line(f"note: {note}")
