"""`content/lora/<genre>/<genre>.history.yaml`: who put which version of an adapter into use, the latest last.

A yes is for exactly one adapter, base model and report; it is an input that a person gave, and survives a lost store.
What only the manifest says, as one of before this file does, counts too. Not here: what is in use (`manifests`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.fingerprints import short
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import dump_yaml, load_mapping, validate
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, promotion_inputs
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.verification.verdicts import Outcome, Verdict, failed_names, has_passed, verdicts_version

AUTOMATIC = "automatic (sq.yaml says `promotion: automatic`)"
_HEAD = "# Written by sq-pipeline: every version of this genre's adapters that was put into use, the latest last.\n"
_OUTCOMES: Mapping[str, Outcome] = {name: name for name in get_args(Outcome)}
_SHA = r"^sha256:[0-9a-f]+$"


@dataclass(frozen=True)
class Judged:
    """What a yes is for: an adapter by its data version, over a base model, and which checks it `failed`, sorted."""

    adapter_version: str
    failed: tuple[str, ...]
    base_model: str
    base_weights: str


class SignOff(BaseModel):
    """A version that was put into use. What is not known of one of before is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    act: Literal["promotion", "rollback"] = "promotion"
    """`rollback`: an earlier version, put back in use; it stays until a person promotes another."""
    file: str
    """Where it was put, below `content/lora`."""
    adapter_version: str = Field(pattern=_SHA)
    """The adapter's data version."""
    adapter_sha256: str | None = Field(default=None, pattern=_SHA)
    """The hash of its file."""
    base_model: str | None = None
    """What it was verified over."""
    base_weights: str | None = None
    """The hash of those weights."""
    promoted_by: str = Field(pattern=r"\S")
    """Who said so."""
    promoted_at: str | None = Field(default=None, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    """When, in UTC."""
    because: str | None = Field(default=None, pattern=r"\S")
    """Why: needed where a check failed."""
    verified: dict[str, str]
    """By check: its outcome, and the detail after a colon."""
    made_from: dict[str, Any] = {}
    """The hash of the report, and the data versions of what it was made from."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """As they were, without figures; what is no outcome counts as failed."""
        parts = {check: text.partition(": ") for check, text in self.verified.items()}
        return tuple(
            Verdict(check, _OUTCOMES.get(outcome, "failed"), None, "", detail)
            for check, (outcome, _, detail) in parts.items()
        )

    @property
    def failed(self) -> list[str]:
        """The checks that it failed, a line each."""
        return [f"{verdict.check}: {verdict.detail}" for verdict in self.verdicts if verdict.outcome == "failed"]

    @property
    def inputs(self) -> Inputs:
        """What a promoted adapter is made from, see `promotion_inputs`."""
        return promotion_inputs(self.adapter_version, verdicts_version(self.verdicts, self.adapter_version))

    @property
    def may_be_used(self) -> bool:
        """True where nothing failed, or somebody said why it is used all the same."""
        return has_passed(self.verdicts) or self.because is not None

    def is_for(self, judged: Judged) -> bool:
        """True where it is a yes for this; one of before says no base model, and counts for any."""
        is_same = (self.adapter_version, failed_names(self.verdicts)) == (judged.adapter_version, judged.failed)
        base = (self.base_model, self.base_weights)
        return is_same and self.may_be_used and base in ((None, None), (judged.base_model, judged.base_weights))

    def as_entry(self) -> dict[str, Any]:
        """As the manifest and the history have it: what is not known, or is as ever, is not there."""
        values = self.model_dump(exclude_none=True)
        return values if self.act == "rollback" else {name: value for name, value in values.items() if name != "act"}

    def describe(self) -> str:
        """`version 3f2a91bc04de, promoted by Ada on 2026-11-29 because …`."""
        verb = "put back" if self.act == "rollback" else "promoted"
        who = "automatically" if self.promoted_by == AUTOMATIC else f"by {self.promoted_by}"
        when = f" on {self.promoted_at[:10]}" if self.promoted_at else ""
        why = f" because {self.because}" if self.because else ""
        return f"version {short(self.adapter_version)}, {verb} {who}{when}{why}"


class _HistoryFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    promotions: dict[str, tuple[SignOff, ...]] = {}
    """By adapter, the latest last."""


class _Manifest(BaseModel):
    adapters: dict[str, SignOff]


def now_text() -> str:
    """The time as sign-offs hold it: for people, and in no fingerprint."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sign_off_in_use(data: DataDir, adapter: Adapter) -> SignOff | None:
    """What the manifest says is in use; None where nothing is. Raises ContentError."""
    entry = read_manifest(data, adapter.genre).get(adapter.name)
    if entry is None or "adapter_version" not in entry:
        return None
    known = {name: value for name, value in entry.items() if name in SignOff.model_fields}
    whole = {"file": adapter.file, "promoted_by": "somebody", "verified": {}, **known}  # people edit manifests
    file = data.relative(data.manifest(adapter.genre))
    return validate(_Manifest, {"adapters": {adapter.name: whole}}, file).adapters[adapter.name]


def in_use(context: Context, adapter: Adapter) -> SignOff | None:
    """As `sign_off_in_use`, read once."""
    return context.remember(("in use", adapter.key), lambda: sign_off_in_use(context.data, adapter))


def forget(context: Context, adapter: Adapter) -> None:
    """Read again what is in use and who said what: it was just changed."""
    for what in ("in use", "sign-offs", "promoted"):
        context.forget((what, adapter.key))


def sign_offs_of(context: Context, adapter: Adapter) -> tuple[SignOff, ...]:
    """All of an adapter, the latest last. Raises ContentError."""
    return context.remember(("sign-offs", adapter.key), lambda: read_sign_offs(context.data, adapter))


def read_sign_offs(data: DataDir, adapter: Adapter) -> tuple[SignOff, ...]:
    """As `sign_offs_of`, read now."""
    known, current = _read(data, adapter.genre).get(adapter.name, ()), sign_off_in_use(data, adapter)
    return known if current is None or current in known else (current, *known)


def add_sign_off(context: Context, adapter: Adapter, sign_off: SignOff) -> None:
    """Write down that a version is to be used, before it is; raises ContentError.

    A file that holds more than this, as comments, is kept in the archive first.
    """
    data, genre = context.data, adapter.genre
    path, known = data.promotion_history(genre), _read(data, genre)
    kept = archive_edited(path, _text(known))
    write_text(path, _text({**known, adapter.name: (*read_sign_offs(data, adapter), sign_off)}))
    forget(context, adapter)
    if kept is not None:
        context.tell(f"{data.relative(path)}: what was written into it is kept as {data.relative(kept)}")


def yes_for(context: Context, adapter: Adapter, judged: Judged) -> SignOff | None:
    """The latest sign-off for exactly this, in the place that the adapter has now; None without one."""
    found = (one for one in reversed(sign_offs_of(context, adapter)) if one.file == adapter.file and one.is_for(judged))
    return next(found, None)


def held_sign_off(context: Context, adapter: Adapter) -> SignOff | None:
    """The version that a person put back in use, where that was the last word; None where it was not."""
    last = next(reversed(sign_offs_of(context, adapter)), None)
    return last if last is not None and last.act == "rollback" else None


def _read(data: DataDir, genre: str) -> dict[str, tuple[SignOff, ...]]:
    path = data.promotion_history(genre)
    if not path.is_file():
        return {}
    file = data.relative(path)
    return validate(_HistoryFile, load_mapping(path, file), file).promotions


def _text(promotions: Mapping[str, tuple[SignOff, ...]]) -> str:
    entries = {name: [sign_off.as_entry() for sign_off in sign_offs] for name, sign_offs in promotions.items()}
    return _HEAD + dump_yaml({"promotions": entries})
