"""What a person is told of a world's prompts though they are sound: words left out, and what a model may make of them.

The checks are in `content.prompt_checks`. Not here: how a prompt is put together (`content.prompts`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.hints import command
from sq_pipeline.content.prompt_checks import PROMPT_CHECKS, Asked, CheckName, Found, check_prompt
from sq_pipeline.content.records import Subject
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.world_state import WorldState

_SHOWN, _PARTS = 3, 12  # prompts told of a file, and parts of each


@dataclass(frozen=True)
class Noted:
    """What a check found in the prompt of a subject."""

    world: str
    tier: str
    subject: Subject
    found: Found

    def as_json(self) -> dict[str, Any]:
        """It as plain values, with why it matters and what to do."""
        check = PROMPT_CHECKS[self.found.check]
        return {
            "world": self.world,
            "tier": self.tier,
            "name": self.subject.name,
            "slug": self.subject.slug,
            "file": self.subject.file,
            "field": self.subject.where,
            "check": self.found.check,
            "words": list(self.found.words),
            "reason": check.reason,
            "hint": check.hint,
        }


def look_at_prompts(context: Context, state: WorldState) -> Iterator[Noted]:
    """What the checks of prompts find that the settings do not leave out."""
    base_model = context.base_model_of_world(state.world)
    for subject in state.subjects:
        if (text := state.texts.get(subject.slug)) is not None:
            asked = Asked(subject, text, base_model.paints_words, state.world.style.name_in_prompt)
            for found in check_prompt(asked, context.settings.ignore_prompt_checks):
                yield Noted(state.world.key, state.tier, subject, found)


def warnings_of_prompts(context: Context, state: WorldState) -> list[Fault]:
    """A warning for each file whose prompts are cut, and for each check that finds something in its prompts."""
    return [*_warnings_of_drops(state), *_warnings_of_checks(context, state)]


def _warnings_of_drops(state: WorldState) -> list[Fault]:
    lines: dict[str, list[str]] = {}
    for subject in state.subjects:
        text = state.texts.get(subject.slug)
        if text is not None and text.dropped:
            parts = _quoted(text.dropped)
            lines.setdefault(subject.file, []).append(f"{subject.name} without {parts}")
    way = f"shorten them, or the style; {command('prompts', '--world', state.world.key)} shows all"
    return [
        Fault(file, "", f"{_prompts_of(state, found)} would be too long: {_told(found)}", way)
        for file, found in lines.items()
    ]


def _warnings_of_checks(context: Context, state: WorldState) -> list[Fault]:
    lines: dict[tuple[str, CheckName], list[str]] = {}
    for noted in look_at_prompts(context, state):
        if PROMPT_CHECKS[noted.found.check].in_plan:
            told = f"{noted.subject.name} {_quoted(noted.found.words)}"
            lines.setdefault((noted.subject.file, noted.found.check), []).append(told)
    warnings: list[Fault] = []
    for (file, name), found in lines.items():
        check = PROMPT_CHECKS[name]
        problem = f"{name} in {_prompts_of(state, found)}: {_told(found)}: {check.reason}"
        warnings.append(
            Fault(file, "", problem, f"{check.hint}; `ignore_prompt_checks: [{name}]` in sq.yaml ends this")
        )
    return warnings


def _quoted(words: tuple[str, ...]) -> str:
    more = f" and {len(words) - _PARTS} more parts" if len(words) > _PARTS else ""
    return ", ".join(f"“{word}”" for word in words[:_PARTS]) + more


def _told(found: list[str]) -> str:
    return "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _prompts_of(state: WorldState, found: list[str]) -> str:
    return f"1 prompt of {state.key}" if len(found) == 1 else f"{len(found)} prompts of {state.key}"
