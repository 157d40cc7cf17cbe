"""`sq-pipeline adapter remap`: an adapter file under another loader's names."""

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sq_pipeline.adapters.dialects import Dialect
from sq_pipeline.adapters.inspect.findings import Doubt
from sq_pipeline.cli.blas_threads import one_blas_thread
from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.common.layout import keymaps_root

if TYPE_CHECKING:
    from sq_pipeline.adapters.strength.stated_scales import MissingAlpha

Target = Literal["mflux", "kohya", "diffusers", "mlx"]
SplitQkv = Literal["ask", "yes", "no"]


class Without(StrEnum):
    """What may be left out."""

    UNAPPLIED = "unapplied"
    TEXT_ENCODER = "text-encoder"


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _missing_alpha(text: str) -> "MissingAlpha":
    if text == "refuse" or text == "rank" or text == "stated":
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number == 0:
        raise typer.BadParameter(
            f"{text!r} is none of refuse, rank, stated, and no alpha", param_hint="--missing-alpha"
        )
    return number


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
            Dialect | None, typer.Option("--from", help="Read it as this, where its names do not tell.")
        ] = None,
        missing_alpha: Annotated[
            str,
            typer.Option(
                help="What to make of an alpha that is missing: rank means scale 1, stated what the metadata or "
                "adapter_config.json says, a number is the alpha itself.",
                metavar="[refuse|rank|stated|NUMBER]",
            ),
        ] = "refuse",
        split_qkv: Annotated[
            SplitQkv, typer.Option(help="Whether the alpha of parts that lie side by side is that of one part.")
        ] = "ask",
        without_text_encoder: Annotated[
            bool, typer.Option("--without-text-encoder", help="Leave the text encoders' part of the file out.")
        ] = False,
        strip: Annotated[
            str, typer.Option(help="Take this off every name first: a prefix, or an adapter's name.", metavar="TEXT")
        ] = "",
        without: Annotated[
            list[Without] | None,
            typer.Option(
                help="Leave out what the target does not hold: modules outside the blocks, norms, biases, embeddings "
                "(unapplied), or the text encoders' part (text-encoder). Can be given several times."
            ),
        ] = None,
        allow: Annotated[
            list[Doubt] | None,
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
            from sq_pipeline.adapters.remap.remap import remap_adapter
            from sq_pipeline.adapters.source import reading_keymap_for
        from sq_pipeline.adapters.adapter_folder import adapter_file_of
        from sq_pipeline.adapters.keymap_files import choose_keymap
        from sq_pipeline.adapters.reading import ReadOptions
        from sq_pipeline.adapters.safetensors_file import open_safetensors
        from sq_pipeline.adapters.strip_names import strip_names
        from sq_pipeline.engines.machine import version_of

        root, source = keymaps_root(data), adapter_file_of(source)
        file = strip_names(open_safetensors(source), strip) if strip else open_safetensors(source)
        version = loader_version or (version_of("mflux") if target == "mflux" else None)
        keymap = choose_keymap(root, target, version, keymap_file)
        result = remap_adapter(
            source,
            output,
            keymap,
            reading=reading_keymap_for(file, root, source_dialect),
            strip=strip,
            options=ReadOptions(
                _missing_alpha(missing_alpha),
                without_text_encoder or Without.TEXT_ENCODER in (without or ()),
                split_qkv,
                Without.UNAPPLIED in (without or ()),
            ),
            allowed=allow or (),
        )
        if as_json:
            print_json(result.as_json())
            return
        values = result.as_json()
        notes = values.pop("notes")
        print_table(("", ""), [(name, _as_text(value)) for name, value in values.items()])
        for note in notes:
            print_line(f"note: {note}")
