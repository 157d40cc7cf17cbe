"""Examples at the end of each command's `--help`. A test parses every one with the real command line.

Here: what is shown. A new command has its line in `EXAMPLES`.
"""

import typer
from typer.main import get_command_name

_WORLD = "neon_tides/harbour_of_glass"
_PICTURE = f"{_WORLD}/pier_zero"
_ADAPTER = "neon_tides_landscape"

# a command: what is typed after its name, and what for
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "demo": (
        ("", "in the checkout's own data"),
        ("~/games/demo", "in a copy there"),
        ("~/games/demo --no-run", "only make it"),
    ),
    "run": (
        ("", "everything that is stale"),
        (f"--world {_WORLD} --tier portrait", "one tier of one world"),
        (f"--replace {_PICTURE}", "archive the file of yours that stands there, and render it"),
        ("--quiet --json > report.json", "for a program"),
    ),
    "plan": (("", "what is stale, and why"), (f"--world {_WORLD}", "of one world")),
    "prompts": ((f"--world {_WORLD}", "each prompt of a world, with its tokens"),),
    "takes": (
        (_PICTURE, "eight with other seeds"),
        (f"{_PICTURE} --count 4 --from 9", "four more"),
        (f"{_PICTURE} --vary scale=0.6,0.8", "the same seeds at two scales, as a grid"),
    ),
    "pick": ((f"{_PICTURE} --take 2 --by Mary", "take 2 is the picture"),),
    "lock": ((f"{_PICTURE} --by Mary --why sky", "keep the picture that is there"),),
    "adopt": (
        (f"{_PICTURE} mine.png --by Mary", "a file of yours is the picture"),
        (f"{_PICTURE} --by Mary", "the file that you retouched in its place"),
    ),
    "unlock": ((_PICTURE, "let it be rendered again"),),
    "history": ((_PICTURE, "which versions there were"),),
    "restore": ((f"{_PICTURE} 3f9a2c --by Mary", "as it was then"),),
    "choices list": (("", "of all worlds"), (f"--world {_WORLD}", "of one")),
    "choices move": ((f"{_PICTURE} pier_one", "its entry was renamed"),),
    "gallery": (
        ("--open", "in the browser"),
        ("--export ~/shown", "as files, for somebody without the pipeline"),
    ),
    "verify-image": (("pier_zero.png", "does it say the truth about what made it?"),),
    "ui": (("", "Dagster's pages, and the gallery"), ("--port 3001 --verbose", "with all that Dagster says")),
    "serve": (("", "until Ctrl-C"), ("--data ~/games/demo", "for that data directory")),
    "doctor": (("", "is everything here?"),),
    "allow": (("", "once, and again after it was updated"),),
    "dataset check": (("data/content/lora-datasets/neon_tides/landscape", "before a training is begun"),),
    "dataset import": (("~/kohya data/content/lora-datasets/mill", "another trainer's folder"),),
    "adapter inspect": (("style.safetensors", "what it is, and who loads it"),),
    "adapter remap": (("style.safetensors mflux.safetensors --target mflux", "under the names that mflux loads"),),
    "adapter fidelity": (("style.safetensors --source trained.safetensors", "is all of it applied?"),),
    "adapter verify": (("style.safetensors --trigger old_west", "with and without it"),),
    "adapter choose": (
        (f"{_ADAPTER} --iteration 80 --by Mary", "another checkpoint"),
        (f"{_ADAPTER} --proposed", "the proposed one again"),
    ),
    "adapter promote": ((f"{_ADAPTER} --by Mary", "put it into use"),),
    "adapter history": ((_ADAPTER, "which versions were in use"),),
    "adapter rollback": ((f"{_ADAPTER} --by Mary --because dark", "the version before"),),
    "gate calibrate": (("--sample", "in minutes"), ("--base-model flux1-dev --pictures plain", "all of it")),
}


def add_examples(app: typer.Typer, prefix: str = "") -> None:
    """Put them under each command of the application, and of its groups."""
    for found in app.registered_commands:
        name = found.name or get_command_name(found.callback.__name__ if found.callback else "")
        if examples := EXAMPLES.get(f"{prefix}{name}"):
            found.epilog = _epilog(f"{prefix}{name}", examples)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{prefix}{group.name} ")


def _epilog(name: str, examples: tuple[tuple[str, str], ...]) -> str:
    lines = [f"  # {why}\n  {' '.join(filter(None, ('sq-pipeline', name, arguments)))}" for arguments, why in examples]
    return "\n".join(("\b", "Examples:", *lines))  # the first line: do not lay it out
