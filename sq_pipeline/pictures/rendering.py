"""The one door to rendering: each picture in a span, and an error where an adapter of its stack was not applied whole.

`wiring` puts `TracedRenderer` around the engine, so that nobody renders past it. The names of the span's attributes are
those of the tools that read them. Not here: what is asked for.
"""

from collections.abc import Sequence
from typing import Protocol

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import Fault, NoMatchError, RenderError
from sq_pipeline.common.hints import command
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, Renderer, RenderRequest
from sq_pipeline.telemetry.spans import Served, Span, span


class Draws(Protocol):
    """All that is asked of a renderer here."""

    def render(self, request: RenderRequest) -> RenderedImage: ...


class TracedRenderer:
    """A renderer whose every picture is traced and insisted on, see `render`."""

    def __init__(self, inner: Renderer) -> None:
        self._inner = inner

    @property
    def model_loads(self) -> int:
        """Those of the renderer within."""
        return self._inner.model_loads

    def describe(self) -> EngineDescription:
        """The renderer within."""
        return self._inner.describe()

    def render(self, request: RenderRequest) -> RenderedImage:
        """See `render`."""
        return render(self._inner, request)


def render(renderer: Draws, request: RenderRequest, served: Served | None = None) -> RenderedImage:
    """One picture, in a span `flux_mlx.render`. `served`: it is rendered for another process.

    Raises RenderError when an adapter was not applied whole. Where the request is for one that judges that itself, a
    stack that is not applied at all comes back too, and only the span says ERROR.
    """
    names = [use.label for use in request.adapters]
    asked = {
        "render.tier": request.tier,
        "render.seed": request.seed,
        "render.variant": request.base_model,
        "render.width": request.width_px,
        "render.height": request.height_px,
        "render.lora.stack_size": len(request.adapters),
        "render.lora.files": names,
        "render.lora.scales": [float(use.lora_scale) for use in request.adapters],
    }
    with span("flux_mlx.render", asked, served) as told:
        try:
            image = renderer.render(request)
        except NoMatchError as error:
            if matched := error.keys_matched or ((0,) if len(names) == 1 else ()):
                told.set({"render.lora.matched_keys": matched})
            raise
        told.set({"render.elapsed_ms": image.elapsed_s * 1000, "render.rendered_by": image.rendered_by})
        _tell_matches(told, image.applied, request.adapters, names)
        if request.must_be_whole:
            _insist_whole(image.applied, request.adapters, names)
        return image


def _tell_matches(
    told: Span, applied: Sequence[AppliedAdapter], uses: Sequence[AdapterUse], names: Sequence[str]
) -> None:
    # a renderer that says nothing of an adapter has not applied it
    matched = [item.keys_matched for item in applied] + [0] * (len(uses) - len(applied))
    told.set({"render.lora.matched_keys": matched})
    if nothing := [name for name, keys in zip(names, matched, strict=False) if keys == 0]:
        told.fail(f"no key of {', '.join(nothing)} was matched")


def _insist_whole(applied: Sequence[AppliedAdapter], uses: Sequence[AdapterUse], names: Sequence[str]) -> None:
    faults: list[Fault] = []
    for name, item in zip(names, applied, strict=False):
        if not item.is_whole:
            hint = f"see {command('adapter inspect', item.path)}"
            keys = f"{item.keys_matched} of {item.keys_total} keys"
            layers = f"{item.layers_patched} of {item.layers_expected} layers"
            faults.append(Fault(name, "", f"was not applied whole: {keys} matched and {layers} were patched", hint))
    is_nothing = any(item.keys_matched == 0 for item in applied)
    if len(applied) != len(uses):
        problem = f"the renderer tells of {len(applied)} adapters, {len(uses)} were asked for"
        faults.append(Fault(", ".join(names), "", problem, ""))
    if faults:
        raise NoMatchError(faults) if is_nothing else RenderError(faults)
