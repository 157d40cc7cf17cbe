"""What is wrong with packs and settings is not wrong any more, once its hint is carried out as it stands."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline_tests.hints.content_cases import CASES, Case
from sq_pipeline_tests.hints.ways import carry_out, write
from sq_pipeline_tests.pipeline.fast import FastEngines

_REST = {
    "sq.yaml": "base_model: tiny-flux\nmissing_adapter: none\n",
    "west/visual_style.yaml": "positive_suffix: dust\n",
    "content/lora/west/landscape.safetensors": "",
    "west/worlds/beta/history.yaml": "points_of_interest:\n- {name: Neighbour, visual_prompt: a church}\n",
}


def told(root: Path) -> set[Fault]:
    """Every fault and warning of a data directory, as `plan` finds them."""
    data = DataDir(root)
    try:
        plan = make_plan(Context(data, FastEngines()(data)), None)
    except SqPipelineError as error:
        return set(error.faults)
    found = {*plan.faults, *(one for one in plan.warnings if isinstance(one, Fault))}
    reasons = [(slug, one) for state in plan.worlds for slug, group in state.faults.items() for one in group]
    return found | {Fault("", slug, one.rpartition("; ")[0], one.rpartition("; ")[2]) for slug, one in reasons}


def find(faults: Iterable[Fault], hint: str) -> Fault:
    """The one with the hint; `…` in it stands for anything."""
    pattern = ".*".join(map(re.escape, hint.split("…"))) if hint.startswith("use one of") else re.escape(hint)
    found = [
        fault for fault in sorted(faults, key=lambda one: (not one.file, one)) if re.fullmatch(pattern, fault.hint)
    ]
    assert found, f"{hint!r} is none of {[str(fault) for fault in faults]}"
    return found[0]


def places_of(faults: Iterable[Fault]) -> set[tuple[str, str, str]]:
    return {(fault.file, fault.field, fault.problem) for fault in faults}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.hint[:60])
def test_the_hint_of_a_pack_or_of_settings_works(tmp_path: Path, case: Case) -> None:
    for name, text in {**_REST, **case.files}.items():
        if text is not None:
            write(tmp_path, name, text)
    before = told(tmp_path)
    fault = find(before, case.hint)
    carry_out(tmp_path, fault, case.answer)
    after = places_of(told(tmp_path))
    assert (fault.file, fault.field, fault.problem) not in after
    others = after - places_of(before)
    assert (not case.then and not others) or case.then in str(others), "another fault in its place"
