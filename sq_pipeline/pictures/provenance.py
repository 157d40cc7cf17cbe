"""What made a picture: the models of what is in its PNG and in the store's record, and what follows from them alone.

Two kinds share what made the pixels (`RenderProvenance`): the picture of a place (`Provenance`, which has no `kind`),
and one that somebody asked of the render server (`RequestProvenance`). A third says what a person made and gave to a
place (`AdoptedProvenance`). Here: the fields, writing and strict reading.
Never in them: times, paths out of the data directory, people, in which process it was rendered: one machine makes one
file of the same inputs. Not here: PNG files (`pictures.png_file`), looking around for what it was made from
(`pipeline.verify_image.image`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer
from pydantic_core import from_json

from sq_pipeline.common.errors import Fault, PictureError
from sq_pipeline.common.fingerprints import canonical_json
from sq_pipeline.common.text import printable

SCHEMA_VERSION = 1

# the names of the PNG's text chunks
PROVENANCE, FINGERPRINT, INPUTS, PLACE, STACK, CHIP = (
    f"sq.{name}" for name in ("provenance", "fingerprint", "inputs", "place", "stack", "chip")
)
CHUNKS = (PROVENANCE, FINGERPRINT, INPUTS, PLACE, STACK, CHIP)

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TokenCount(_Strict):
    """Tokens of the prompt as sent, by one encoder, and how many of them it reads."""

    encoder: str
    tokens: Count
    budget: Count


class AdapterProvenance(_Strict):
    """One adapter of the stack and what was applied of it.

    `data_version` is of its tensors, `file_sha256` of the file's bytes. `update_norm`: Frobenius norm of
    lora_scale · scale · up @ down over all modules, six digits, computed from the file; None where it cannot be.
    `share_kept` of an unbaked adapter is 1 by construction: no base weight is written to, so nothing of the update is
    rounded away; that every key and layer got it is what the counts say, and the verification measured it.
    """

    name: str
    file: str
    lora_scale: float
    data_version: Sha256
    file_sha256: Sha256
    keys_matched: Count
    keys_total: Count
    layers_patched: Count
    layers_expected: Count
    application: Literal["unbaked"] = "unbaked"
    share_kept: float = 1.0
    update_norm: float | None

    @property
    def is_whole(self) -> bool:
        """True when every key was matched and every layer patched."""
        return 0 < self.keys_total == self.keys_matched and 0 < self.layers_patched == self.layers_expected

    def as_stack_entry(self) -> dict[str, Any]:
        """The adapter as the chunk `sq.stack` and Dagster's metadata show it."""
        return {
            "name": self.name,
            "lora_scale": self.lora_scale,
            "adapter_version": self.data_version,
            "keys_matched": self.keys_matched,
            "keys_total": self.keys_total,
            "layers_patched": self.layers_patched,
        }


class RenderProvenance(_Strict):
    """What made the pixels. `pixels` is the sha256 of their `(height, width, 3)` uint8 bytes.

    `negative_prompt` is None where the base model reads none. `base_weights` is over all of the base model's files,
    tokenizers included. `engine`: versions of the renderer's parts and its revision.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    pixels: Sha256
    tier: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    positive_prompt: str
    negative_prompt: str | None
    tokens: tuple[TokenCount, ...]
    sampler: str
    scheduler: str
    num_inference_steps: Positive
    guidance: float | None
    width_px: Positive
    height_px: Positive
    base_model: str
    base_weights: Sha256
    adapters: tuple[AdapterProvenance, ...]
    engine: dict[str, str]
    chip: str


class RequestProvenance(RenderProvenance):
    """One picture that a client of the render server asked for, of no place and in no record.

    `clip_prompt`: what CLIP read in place of `positive_prompt`, None for the same; the tokens are those of what each
    encoder was given. `cut`: the encoders that read the beginning only. The adapters' files are relative to the data
    directory, their names those of the files. `guidance` is None where the base model takes none.
    """

    kind: Literal["request"] = "request"
    clip_prompt: str | None
    cut: tuple[str, ...]

    def as_chunks(self) -> dict[str, str]:
        """The PNG's text chunks."""
        return {PROVENANCE: canonical_json(self.model_dump(mode="json"))}


class Provenance(RenderProvenance):
    """One picture of a place. `dropped`: the parts of its prompt that were left out to fit. `own_seed`: what its entry
    says of its seed; not written where that is nothing, as in every picture of before.
    """

    fingerprint: Sha256
    genre: str
    world: str
    poi: str
    slug: str
    base_seed: int
    own_seed: str | None = Field(default=None, pattern=r"^\+?[0-9]{1,10}$")
    dropped: tuple[str, ...]

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = handler(self)
        if values.get("own_seed") is None:
            values.pop("own_seed", None)
        return values

    @property
    def place(self) -> str:
        """`<genre>/<world>/<slug>`."""
        return f"{self.genre}/{self.world}/{self.slug}"

    def stack(self) -> list[dict[str, Any]]:
        """The adapters as the chunk `sq.stack` shows them."""
        return [adapter.as_stack_entry() for adapter in self.adapters]

    def settled_inputs(self) -> dict[str, Any]:
        """Those of the picture's inputs (`lineage.picture_inputs`) that this says again, under their names there."""
        negative = {} if self.negative_prompt is None else {"negative_prompt": self.negative_prompt}
        return {
            "positive_prompt": self.positive_prompt,
            **negative,
            "seed": self.seed,
            "stack": [[adapter.data_version, adapter.lora_scale] for adapter in self.adapters],
            "base_model": self.base_model,
            "base_weights": self.base_weights,
            "size_px": [self.width_px, self.height_px],
            "num_inference_steps": self.num_inference_steps,
            "guidance": self.guidance,
            **{f"renderer.{name}": version for name, version in self.engine.items()},
        }

    def as_chunks(self, inputs: dict[str, Any]) -> dict[str, str]:
        """The PNG's text chunks, with all inputs of the picture."""
        return {
            PROVENANCE: canonical_json(self.model_dump(mode="json")),
            FINGERPRINT: self.fingerprint,
            INPUTS: canonical_json(inputs),
            PLACE: self.place,
            STACK: canonical_json(self.stack()),
            CHIP: self.chip,
        }


class PaintedOver(_Strict):
    """The picture that a person's stands for: its fingerprint, the hash of its pixels, and all its inputs."""

    fingerprint: Sha256
    pixels: Sha256
    inputs: dict[str, Any]


class AdoptedProvenance(_Strict):
    """A picture of a place that a person made. `pixels` as ever; `file_sha256`: the file that they brought.

    `over`: what it was painted over, or stands in place of; None where nothing of ours was there.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["adopted"] = "adopted"
    pixels: Sha256
    file_sha256: Sha256
    genre: str
    world: str
    slug: str
    tier: str
    width_px: Positive
    height_px: Positive
    over: PaintedOver | None

    @property
    def place(self) -> str:
        """`<genre>/<world>/<slug>`."""
        return f"{self.genre}/{self.world}/{self.slug}"

    def as_chunks(self) -> dict[str, str]:
        """The PNG's text chunks."""
        return {PROVENANCE: canonical_json(self.model_dump(mode="json")), PLACE: self.place}


def kind_said(texts: Mapping[str, str]) -> str | None:
    """The `kind` that a PNG's texts have, which the rendered picture of a place has not. Their form is not checked."""
    try:
        said = from_json(texts.get(PROVENANCE, "null"), allow_inf_nan=False)
    except (ValueError, RecursionError):
        return None
    return str(said["kind"]) if isinstance(said, dict) and "kind" in said else None


def read_adopted_provenance(texts: Mapping[str, str], file: str) -> AdoptedProvenance:
    """What the text chunks of an adopted picture say; raises PictureError with every fault."""
    faults = [
        Fault(file, printable(name)[:_MOST_SHOWN], "does not belong to a picture that was adopted", _CHANGED)
        for name in sorted(texts.keys() - {PROVENANCE, PLACE})[:_MOST_FAULTS]
    ]
    provenance = _read_as(AdoptedProvenance, texts[PROVENANCE], file, faults)
    if provenance is not None and texts.get(PLACE) != provenance.place:
        faults.append(Fault(file, PLACE, "is not that of its provenance", _CHANGED))
    if faults or provenance is None:
        raise PictureError(faults)
    return provenance


def read_any_provenance(texts: Mapping[str, str], file: str) -> Provenance | AdoptedProvenance | None:
    """What a picture of a place says, rendered or adopted; None for one of another kind. Raises PictureError."""
    kind = kind_said(texts)
    if kind is None:
        return read_provenance(texts, file)[0]
    return read_adopted_provenance(texts, file) if kind == "adopted" else None


def inputs_said(texts: Mapping[str, str], file: str) -> dict[str, Any] | None:
    """The inputs that a picture of a place was rendered from, or painted over. Raises PictureError."""
    if kind_said(texts) == "adopted":
        over = read_adopted_provenance(texts, file).over
        return None if over is None else over.inputs
    return read_provenance(texts, file)[1]


def read_request_provenance(texts: Mapping[str, str], file: str) -> RequestProvenance:
    """What the text chunks of a picture of the render server's say; raises PictureError with every fault."""
    faults = [
        Fault(file, printable(name)[:_MOST_SHOWN], "does not belong to a picture that was asked for directly", _CHANGED)
        for name in sorted(texts.keys() - {PROVENANCE})[:_MOST_FAULTS]
    ]
    provenance = _read_as(RequestProvenance, texts[PROVENANCE], file, faults)
    if faults or provenance is None:
        raise PictureError(faults)
    return provenance


def read_provenance(texts: Mapping[str, str], file: str) -> tuple[Provenance, dict[str, Any]]:
    """What the text chunks of a place's picture say, and its inputs; raises PictureError with each fault of their form.

    Both must be written as this pipeline writes them, to the letter: a repeated key or another spelling is a fault.
    """
    if PROVENANCE not in texts:
        older = FINGERPRINT in texts
        problem = "says too little of what made it: it is of an older version" if older else "does not say what made it"
        hint = "render it again" if older else "is it of another program, or was its metadata taken out?"
        raise PictureError(Fault(file, "", problem, hint))
    faults = [Fault(file, name, "is missing", _CHANGED) for name in CHUNKS if name not in texts]
    provenance = _read_as(Provenance, texts[PROVENANCE], file, faults)
    inputs = _read_inputs(texts.get(INPUTS, "{}"), file, faults)
    if faults or provenance is None:
        raise PictureError(faults)
    return provenance, inputs


_CHANGED = "the metadata was changed"
_MOST_FAULTS, _MOST_SHOWN = 10, 200
_Kind = TypeVar("_Kind", bound=_Strict)


def _read_as(kind: type[_Kind], text: str, file: str, faults: list[Fault]) -> _Kind | None:
    """The chunk `sq.provenance`; None, with its faults added, where it is not well formed."""
    try:
        provenance = kind.model_validate_json(text)
        if canonical_json(provenance.model_dump(mode="json")) != text:
            faults.append(Fault(file, PROVENANCE, "is not written as it should be", _CHANGED))
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_FAULTS]:
            where = printable(".".join((PROVENANCE, *map(str, item["loc"]))))[:_MOST_SHOWN]
            faults.append(Fault(file, where, printable(item["msg"])[:_MOST_SHOWN], _CHANGED))
        return None
    except ValueError as error:  # canonical JSON of a number beyond Python's own limits
        faults.append(Fault(file, PROVENANCE, str(error), _CHANGED))
        return None
    return provenance


def _read_inputs(text: str, file: str, faults: list[Fault]) -> dict[str, Any]:
    try:
        inputs = from_json(text, allow_inf_nan=False)
        if not isinstance(inputs, dict):
            raise ValueError("not an object")
        if canonical_json(inputs) != text:
            raise ValueError("not written as it should be")
    except (ValueError, TypeError, RecursionError) as error:
        faults.append(Fault(file, INPUTS, f"cannot be read ({printable(str(error))[:_MOST_SHOWN]})", _CHANGED))
        return {}
    return inputs  # pyright: ignore[reportUnknownVariableType]
