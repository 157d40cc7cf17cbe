"""What a render server and its clients say to each other: one JSON object a line, UTF-8, at most 1 MiB.

A call is `{"id", "method", "params"}`; its answer `{"id", "result"}` or `{"id", "error": {"code", "message"}}`; between
them, where asked for, `{"id", "progress": {"step", "steps"}}` and `{"id", "alive": {"step", "steps", …}}`. Here:
what is well formed, and the codes of what is not. Not here: sockets, and whether the files that a call names are there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.base_models.picture_limits import AREA_MAX_PX, SIDE_MAX_PX, STEPS_MAX
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.tiers import TIERS

# 2: `alive_s` of a render
PROTOCOL_VERSION = 2


LINE_MAX_BYTES = 1 << 20


LORA_MAX, TEXT_MAX = 16, 20_000


# https://www.w3.org/TR/trace-context-1/#traceparent-header, version 00
TRACEPARENT = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


Code = Literal[
    "too_large",
    "bad_json",
    "not_an_object",
    "bad_id",
    "duplicate_id",
    "unknown_method",
    "bad_params",
    "singular_lora",
    "lengths_differ",
    "unknown_tier",
    "unknown_variant",
    "bad_size",
    "path_outside",
    "adapter_missing",
    "adapter_no_match",
    "adapter_not_applied",
    "prompt_too_long",
    "base_model_missing",
    "weights_differ",
    "queue_full",
    "unknown_request",
    "cancelled",
    "shutting_down",
    "render_failed",
    "internal",
]


RequestId = int | str


Method = Literal["ping", "status", "shutdown", "cancel", "render"]


class ProtocolError(Exception):
    """A call that is answered with an error. `request_id` is None where the call's own cannot be told."""

    def __init__(self, code: Code, message: str, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.request_id = request_id


def _readable(text: str) -> str:
    """JSON can write half a character (a lone surrogate) and a NUL, neither of which is text for a tokenizer."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds a character that is no text")
    return text


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Text = Annotated[str, Field(max_length=TEXT_MAX), AfterValidator(_readable)]


LoraScale = Annotated[float, Field(ge=-100, le=100)]


class NoParams(_Params):
    """Of `ping`, `status` and `shutdown`."""


class CancelParams(_Params):
    """What is to end."""

    request: RequestId
    """The id of a render of this connection."""


class RenderParams(_Params):
    """One picture."""

    tier: str
    """The tier of the picture."""
    positive_prompt: Annotated[Text, Field(min_length=1)]
    """The prompt."""
    clip_prompt: Text | None = None
    """What CLIP reads, where that is another text."""
    negative_prompt: Text | None = None
    """Given to models that read one."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)]
    """The seed."""
    steps: Annotated[int, Field(ge=1, le=STEPS_MAX)]
    """Inference steps."""
    width: int
    """In pixels: a multiple of 16 from 16 to 4096."""
    height: int
    """The same. Width × height is at most 4194304."""
    guidance: Annotated[float, Field(ge=0, le=100)] | None = None
    """`null` where the model takes none."""
    variant: str
    """A base model's name or alias, such as `tiny-flux`."""
    lora_paths: Annotated[tuple[Text, ...], Field(max_length=LORA_MAX)] = ()
    """The adapters' files, relative to the data directory, or absolute inside it."""
    lora_scales: Annotated[tuple[LoraScale, ...], Field(max_length=LORA_MAX)] = ()
    """Their scales, as many."""
    base_weights: Text | None = None
    """The hash of the weights that the caller counts on. With others there is an error and no picture."""
    traceparent: Annotated[str, Field(pattern=TRACEPARENT)] | None = None
    """The caller's span (W3C Trace Context), of which the render's becomes a child where the server is traced."""
    progress: bool = False
    """Tell of each step."""
    alive_s: Annotated[float, Field(ge=0.1, le=3600)] | None = None
    """Tell every so many seconds that the server lives, until the picture is there, in the queue too."""

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        """JSON has lists only; a strict tuple takes none."""
        if not isinstance(value, dict):
            return value
        values = cast(dict[str, Any], value)
        lists = ("lora_paths", "lora_scales")
        return {
            key: tuple(cast(list[Any], item)) if key in lists and isinstance(item, list) else item
            for key, item in values.items()
        }


@dataclass(frozen=True)
class Call:
    """A call that is well formed."""

    request_id: RequestId
    method: Method
    params: RenderParams | CancelParams | NoParams


_METHODS: dict[str, type[RenderParams] | type[CancelParams] | type[NoParams]] = {
    "ping": NoParams,
    "status": NoParams,
    "shutdown": NoParams,
    "cancel": CancelParams,
    "render": RenderParams,
}


def read_call(line: bytes) -> Call:
    """The call that a line holds; raises ProtocolError for any other bytes."""
    value = _read_object(line)
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, (int, str)):
        raise ProtocolError("bad_id", "id must be a text or an integer")
    if len(str(request_id)) > 128 or (isinstance(request_id, str) and not request_id.isprintable()):
        raise ProtocolError("bad_id", "id must be at most 128 printable characters")
    method = value.get("method")
    if not isinstance(method, str) or method not in _METHODS:
        raise ProtocolError("unknown_method", f"method must be one of {', '.join(_METHODS)}", request_id)
    if other := value.keys() - {"id", "method", "params"}:
        raise ProtocolError("bad_params", f"a call has no {_names(other)}; what belongs to it is in params", request_id)
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError("bad_params", "params must be an object", request_id)
    values = cast(dict[str, Any], params)
    if method == "render":
        _check_names(values, request_id)
    try:
        checked = _METHODS[method].model_validate(values)
    except ValidationError as error:
        raise ProtocolError("bad_params", _describe(error), request_id) from None
    if isinstance(checked, RenderParams):
        _check_render(checked, request_id)
    return Call(request_id, cast(Method, method), checked)


def _read_object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), parse_constant=_no_number, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error).partition(":")[0]
        raise ProtocolError("bad_json", f"not JSON ({reason})") from None
    if not isinstance(value, dict):
        raise ProtocolError("not_an_object", "a call is a JSON object")
    return cast(dict[str, Any], value)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _check_names(params: dict[str, Any], request_id: RequestId) -> None:
    """What has a code of its own and would otherwise be one more unknown name."""
    if singular := params.keys() & {"lora_path", "lora_scale"}:
        message = f"{_names(singular)}: write the lists lora_paths and lora_scales"
        raise ProtocolError("singular_lora", message, request_id)


def _check_render(params: RenderParams, request_id: RequestId) -> None:
    if params.tier not in TIERS:
        raise ProtocolError("unknown_tier", f"tier must be one of {', '.join(TIERS)}", request_id)
    try:
        resolve_base_model(params.variant)
    except BaseModelError as error:
        fault = error.faults[0]
        raise ProtocolError("unknown_variant", f"variant: {fault.problem[:200]}; {fault.hint}", request_id) from None
    if len(params.lora_paths) != len(params.lora_scales):
        counts = f"{len(params.lora_paths)} lora_paths and {len(params.lora_scales)} lora_scales"
        raise ProtocolError("lengths_differ", counts, request_id)
    for name, side in (("width", params.width), ("height", params.height)):
        if side % 16 or not 16 <= side <= SIDE_MAX_PX:
            message = f"{name} must be a multiple of 16 from 16 to {SIDE_MAX_PX}"
            raise ProtocolError("bad_size", message, request_id)
    if params.width * params.height > AREA_MAX_PX:
        raise ProtocolError("bad_size", f"width × height must be at most {AREA_MAX_PX}", request_id)


def _describe(error: ValidationError) -> str:
    """All that is wrong with the params, without what they hold."""
    lines = [f"{'.'.join(map(str, item['loc'])) or 'params'}: {item['msg']}" for item in error.errors()]
    return "; ".join(dict.fromkeys(line[:200] for line in lines[:20]))


def _names(names: set[str]) -> str:
    return ", ".join(sorted(name[:40] for name in names))[:400]


def write_line(message: dict[str, Any]) -> bytes:
    """A message as its line."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def error_line(error: ProtocolError) -> bytes:
    """The answer to a call that failed."""
    return write_line({"id": error.request_id, "error": {"code": error.code, "message": error.message}})


class LineCutter:
    """Collects pieces; never holds more than one line's worth."""

    def __init__(self, max_bytes: int = LINE_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._is_skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that end in `piece`, without their ends; None for one that is too long, as soon as it is."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            yield from self._add(piece[start:end])
            if not self._is_skipping:
                yield bytes(self._rest)
            self._rest.clear()
            self._is_skipping = False
            start = end + 1
        yield from self._add(piece[start:])

    def _add(self, piece: bytes) -> Iterator[None]:
        if self._is_skipping:
            return
        if len(self._rest) + len(piece) > self._max_bytes:
            self._rest.clear()
            self._is_skipping = True
            yield None
        else:
            self._rest += piece
