"""`sq-pipeline adapter remap`: an adapter file under another loader's names."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_table
from sq_pipeline.storage.layout import data_root


class Target(StrEnum):
    """What a file can be remapped to."""

    MFLUX = "mflux"
    KOHYA = "kohya"
    DIFFUSERS = "diffusers"


def _show(values: dict[str, Any]) -> None:
    def as_text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)

    print_table(("", ""), [(name, as_text(value)) for name, value in values.items()])


def register(adapter: typer.Typer) -> None:
    """Add the command to the `adapter` group."""

    @adapter.command()
    def remap(
        source: Annotated[Path, typer.Argument(metavar="IN")],
        output: Annotated[Path, typer.Argument(metavar="OUT")],
        target: Annotated[Target, typer.Option(help="Whose names to write; mflux means the installed version.")],
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Write an MLX adapter under another loader's names; whole, or not at all."""
        from sq_pipeline.engines.machine import version_of
        from sq_pipeline.stages.remap import remap_adapter
        from sq_pipeline.storage.keymaps import select_keymap

        version = version_of("mflux") if target is Target.MFLUX else None
        keymap = select_keymap(data_root(data).resolve() / "keymaps", target.value, version)
        result = remap_adapter(source, output, keymap).as_json()
        if as_json:
            print_json(result)
        else:
            _show(result)
