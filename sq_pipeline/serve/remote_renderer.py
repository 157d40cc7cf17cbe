"""A renderer that gives its pictures to the data directory's render server while there is one, and says who renders.

In process instead, each time with the reason: when no server is up, when it is another engine or has other weights,
when it cannot take the picture, and when it dies, or falls silent, with the picture in hand. Not here: an engine (it is
given one).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import Fault, NoMatchError, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.deaths import read_death
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, Renderer, RenderRequest
from sq_pipeline.serve.client import ANSWER_S, RenderClient, ServerGoneError, ServerSilentError, open_client
from sq_pipeline.serve.picture_files import read_pixels
from sq_pipeline.serve.protocol import Code, ProtocolError
from sq_pipeline.serve.socket_place import serve_folder
from sq_pipeline.telemetry.spans import current_traceparent

# What is wrong with the picture itself: in process it would be no better.
_FAULTS: tuple[Code, ...] = (
    "adapter_missing",
    "adapter_no_match",
    "adapter_not_applied",
    "prompt_too_long",
    "base_model_missing",
)

_NOTE_S = 1.0
_NO_SERVER = "no render server is up"
_AGAIN_S = 0.5  # for one that was silent before
_ALIVE_MAX_S = 15.0
_STILL_S = 600.0


class ServerFirstRenderer:
    """The `Renderer` of `pictures.ports`. `open_local` makes the engine of this process when it is first needed.

    A server that says nothing for `silence_s` with a picture in hand is given up; one that lives is waited for.
    """

    def __init__(
        self,
        data: DataDir,
        open_local: Callable[[], Renderer],
        description: EngineDescription,
        weights_hash: Callable[[str], str],
        say: Callable[[str], None],
        silence_s: float = 120.0,
    ) -> None:
        self._data, self._open_local, self._description = data, open_local, description
        self._weights_hash, self._say, self._silence_s = weights_hash, say, silence_s
        self._answer_s = ANSWER_S
        self._local: Renderer | None = None
        self._client: RenderClient | None = None
        self._remote_loads = 0
        self._said = ""

    @property
    def model_loads(self) -> int:
        """Loads of a base model for this renderer's pictures, in whichever process."""
        return self._remote_loads + (0 if self._local is None else self._local.model_loads)

    def describe(self) -> EngineDescription:
        """The engine's description, which is that of every server that is used."""
        return self._description

    def render(self, request: RenderRequest) -> RenderedImage:
        """One picture, by the server or in process; raises RenderError."""
        found = self._find_server()
        if isinstance(found, str):
            return self._render_here(request, found)
        client, pid = found
        params = self._params(request)
        try:
            watch = _Watch(pid, self._say)
            answer = client.call("render", params, silence_s=self._silence_s, on_alive=watch.see)
            image = self._read(answer, request, pid)
        except ProtocolError as error:
            if error.code in _FAULTS:
                kind = NoMatchError if error.code == "adapter_no_match" else RenderError
                raise kind(Fault("", "", error.message, "")) from error
            return self._render_here(request, f"the server (process {pid}) refused it: {error.message}")
        except ServerSilentError as error:
            self._hang_up()
            self._answer_s = _AGAIN_S
            ways_out = f"wake it (`kill -CONT {pid}`) or end it (`kill -KILL {pid}`)"
            reason = f"THE RENDER SERVER (process {pid}) IS SILENT with a picture in hand: {error}; {ways_out}"
            return self._render_here(request, reason)
        except (ServerGoneError, OSError) as error:
            self._hang_up()
            self._said = ""
            died = f"THE RENDER SERVER (process {pid}) DIED with a picture in hand: {self._how_it_died() or error}"
            return self._render_here(request, died)
        except BaseException:
            self._hang_up()  # Ctrl-C: the server need not finish it
            raise
        self._tell(f"pictures are rendered by the render server (process {pid})")
        return image

    def _find_server(self) -> tuple[RenderClient, int] | str:
        """The server and its process, asked anew for every picture; or why there is none to use."""
        told: dict[str, Any] | None = None
        if self._client is not None:
            try:
                told = self._client.ping(self._answer_s)
            except (ServerGoneError, ProtocolError):
                self._hang_up()
        if self._client is None:
            try:
                opened = open_client(self._data, self._answer_s)
            except ServerGoneError as error:
                self._answer_s = _AGAIN_S if isinstance(error, ServerSilentError) else ANSWER_S
                return f"the render server does not answer ({error})"
            if opened is None:
                return _NO_SERVER
            self._client, told = opened
        assert told is not None
        self._answer_s = ANSWER_S
        pid, engine = told["pid"], told["engine"]
        if told["is_stopping"]:
            return f"the server (process {pid}) is shutting down"
        own = {"name": self._description.name, **self._description.versions}
        other = {"name": engine["name"], **engine["versions"]}
        if own != other:
            names = sorted(name for name in own | other if own.get(name) != other.get(name))
            differs = ", ".join(f"{name} {other.get(name)} there, {own.get(name)} here" for name in names)
            return f"the server (process {pid}) is another engine ({differs}); start it again"
        return self._client, pid

    def _how_it_died(self) -> str | None:
        """What its watcher says, which may come a moment after the socket's end; None where it runs, or has none."""
        note, end = self._data.server_death_note, time.monotonic() + _NOTE_S
        while note.exists() and time.monotonic() < end:
            if told := read_death(note):
                return told
            time.sleep(_NOTE_S / 20)
        return None

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _render_here(self, request: RenderRequest, reason: str) -> RenderedImage:
        self._tell(f"pictures are rendered in process: {reason}")
        if self._local is None:
            self._local = self._open_local()
        return self._local.render(request)

    def _tell(self, line: str) -> None:
        """Once, until it changes."""
        if line != self._said:
            self._said = line
            self._say(line)

    def _params(self, request: RenderRequest) -> dict[str, Any]:
        traceparent = current_traceparent()
        return {
            **({} if traceparent is None else {"traceparent": traceparent}),
            "tier": request.tier,
            "positive_prompt": request.positive_prompt,
            "clip_prompt": request.clip_prompt,
            "negative_prompt": request.negative_prompt,
            "seed": request.seed,
            "steps": request.num_inference_steps,
            "width": request.width_px,
            "height": request.height_px,
            "guidance": request.guidance,
            "variant": request.base_model,
            "lora_paths": [str(use.path) for use in request.adapters],
            "lora_scales": [use.lora_scale for use in request.adapters],
            "base_weights": self._weights_hash(request.base_model),
            "alive_s": max(0.1, min(self._silence_s / 8, _ALIVE_MAX_S)),
        }

    def _read(self, answer: dict[str, Any], request: RenderRequest, pid: int) -> RenderedImage:
        """The picture, whose file was for this renderer alone. Raises ServerGoneError for what is no answer."""
        try:
            applied = tuple(
                _applied(use, *counts)
                for use, *counts in zip(request.adapters, *(answer[name] for name in _COUNTS), strict=True)
            )
            path = Path(self._data.root / answer["image_path"])
            if path.parent != serve_folder(self._data) / "pictures":
                raise ServerGoneError("it named a picture that is not its own")
            pixels = read_pixels(path)
            path.unlink(missing_ok=True)
            self._remote_loads += answer["model_loads"]
            return RenderedImage(pixels, answer["elapsed_ms"] / 1000, applied, f"server, process {pid}")
        except (KeyError, TypeError, ValueError) as error:
            raise ServerGoneError(f"it gave an answer that cannot be read ({error})") from error


@dataclass
class _Watch:
    """Says of a picture that a living server does not get on with it. However slow, it is waited for."""

    pid: int
    say: Callable[[str], None]
    place: tuple[Any, ...] = ()
    since: float = field(default_factory=time.monotonic)
    patience_s: float = _STILL_S

    def see(self, alive: Mapping[str, Any]) -> None:
        """What the server said of itself."""
        place, now = (alive.get("is_waiting"), alive.get("step")), time.monotonic()
        if place != self.place:
            self.place, self.since, self.patience_s = place, now, _STILL_S
        elif now - self.since >= self.patience_s:
            where = (
                "in its queue" if alive.get("is_waiting") else f"at step {alive.get('step')} of {alive.get('steps')}"
            )
            since = f"for {(now - self.since) / 60:.0f} min"
            self.say(
                f"the render server (process {self.pid}) lives, and the picture is {where} {since}; if that is too "
                f"long, end it (`kill -KILL {self.pid}`): the picture is then rendered in process"
            )
            self.patience_s *= 2


_COUNTS = ("matched_keys", "total_keys", "layers_patched", "layers_expected")


def _applied(use: AdapterUse, matched: int, total: int, patched: int, expected: int) -> AppliedAdapter:
    return AppliedAdapter(use.path, use.lora_scale, matched, total, patched, expected)
