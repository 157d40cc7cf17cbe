"""Writes the generated parts of the documentation: `python -m sq_pipeline_tests.docs.generate` (`just docs`).

A page has them between `<!-- generated: NAME -->` and `<!-- end of generated -->`. `test_generated` fails where a page
holds something else than what is made here.
"""

from collections.abc import Callable, Mapping

from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.content.choices import ChoiceLine
from sq_pipeline.pipeline.promotions.sign_offs import SignOff
from sq_pipeline.serve.protocol import RenderParams
from sq_pipeline.settings import Settings
from sq_pipeline.training.checkpoint_choices import CheckpointChoice
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline_tests.docs import command_line, facts, layout, pack_keys
from sq_pipeline_tests.docs.blocks import fill, pages
from sq_pipeline_tests.docs.model_keys import model_table

BLOCKS: Mapping[str, Callable[[], str]] = {
    "command line": command_line.reference,
    "keys of sq.yaml": lambda: model_table(Settings),
    "keys of lora.yaml": lambda: model_table(Recipe),
    "keys of a keymap": lambda: model_table(Keymap),
    "keys of verify_prompts": lambda: model_table(VerifyPrompts),
    "keys of a checkpoint choice": lambda: model_table(CheckpointChoice),
    "keys of a sign-off": lambda: model_table(SignOff),
    "keys of choices.yaml": lambda: model_table(ChoiceLine),
    "keys of visual_style.yaml": pack_keys.style_table,
    "keys of an entry of loras": pack_keys.entry_table,
    "keys of a world's loras": pack_keys.overlay_table,
    "keys of the tiers' files": pack_keys.subject_tables,
    "tiers": facts.tier_table,
    "prompt checks": facts.prompt_check_table,
    "base models": facts.base_model_table,
    "memory of a training": facts.memory_table,
    "params of render": lambda: model_table(RenderParams),
    "errors of the render server": facts.error_table,
    "packages": layout.package_table,
    "layers": layout.layer_list,
    "ports": layout.port_list,
}


def blocks() -> dict[str, str]:
    """Every generated part by its name."""
    return {name: make() for name, make in BLOCKS.items()}


def main() -> None:
    """Write every page again."""
    made = blocks()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(fill(text, made), encoding="utf-8")


if __name__ == "__main__":
    main()
