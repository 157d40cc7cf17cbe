"""The data directories of `packs.yaml`, written to disk. Not here: what the product is to say of each."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

_ELSEWHERE = ("sq.yaml",)  # not below content/genre_packs
_DEFAULTS = {
    "sq.yaml": "base_model: tiny-flux\nmissing_adapter: none\n",
    "west/visual_style.yaml": "positive_suffix: dust\n",
    "west/worlds/beta/history.yaml": (
        "chapters:\n- points_of_interest:\n  - {name: Neighbour, visual_prompt: a church}\n"
    ),
}


@cache
def cases() -> Mapping[str, Mapping[str, str | None]]:
    """What each case's files say."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def build(case: str, root: Path, shipped: Path) -> Path:
    """A case's data directory over the shipped models, keymaps and prompts.

    Beside the case's own world `west/alpha` there is a sound one, `west/beta`, with one place, where the case does not
    say otherwise; null takes a file away.
    """
    for place, text in {**_DEFAULTS, **cases()[case]}.items():
        if text is None:
            continue
        path = root / place if place in _ELSEWHERE else root / "content/genre_packs" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for part in ("models", "keymaps", "verify_prompts"):
        (root / part).symlink_to((shipped / part).resolve(), target_is_directory=True)
    return root
