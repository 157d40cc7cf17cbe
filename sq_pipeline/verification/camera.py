"""The pictures that a verification looks at, each rendered when a check first asks for it.

They come through a renderer that may have kept them (`pipeline.kept_pictures`).
Not here: what they say (`checks`).
"""

from collections.abc import Callable

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BaseModel, SizePx
from sq_pipeline.common.tiers import Tier, shown_tier
from sq_pipeline.pictures.ports import AppliedAdapter, Renderer, RenderRequest
from sq_pipeline.verification.measures.features import Pixels
from sq_pipeline.verification.prompts import VerifyPrompts

OnPicture = Callable[[int], None]  # pictures rendered so far
Pictures = tuple[Pixels, ...]
Stack = tuple[AdapterUse, ...]


def with_word(word: str | None, prompt: str) -> str:
    """A prompt with a word before it."""
    return f"{word}, {prompt}" if word else prompt


class Camera:
    """Renders and remembers. `applied`: what the loader did with the adapter, each time it was asked to."""

    def __init__(
        self,
        base_model: BaseModel,
        tier: str,
        prompts: VerifyPrompts,
        renderer: Renderer,
        on_picture: OnPicture | None = None,
    ) -> None:
        self.prompts = prompts
        self.applied: list[AppliedAdapter] = []
        self._tier: Tier = shown_tier(tier)
        self._model, self._settings = base_model, base_model.settings_for(self._tier)
        self._renderer, self._on_picture = renderer, on_picture
        self._taken: dict[tuple[str, int, Stack], Pixels] = {}

    @property
    def size(self) -> SizePx:
        """That of all pictures."""
        return self._settings.size

    @property
    def taken(self) -> int:
        """How many pictures with an adapter were rendered."""
        return sum(1 for _, _, stack in self._taken if stack)

    def base(self, word: str | None, *, seed_step: int = 0) -> Pictures:
        """The base model's pictures of all prompts, `word` before each; `seed_step` takes other seeds."""
        return tuple(
            self._take(with_word(word, item.prompt), (item.seed + seed_step) % 2**32, ())
            for item in self.prompts.prompts
        )

    def styled(self, use: AdapterUse, word: str | None, first: int | None = None) -> Pictures:
        """The pictures of all prompts (or the first ones) with an adapter. Raises RenderError."""
        return self.stacked((use,), word, first)

    def stacked(self, stack: Stack, word: str | None, first: int | None = None) -> Pictures:
        """The same with several adapters at once, or none. Raises RenderError."""
        return tuple(
            self._take(with_word(word, item.prompt), item.seed, stack) for item in self.prompts.prompts[:first]
        )

    def has_styled(self, use: AdapterUse, word: str | None, first: int | None = None) -> bool:
        """True where these pictures were rendered already."""
        keys = ((with_word(word, item.prompt), item.seed, (use,)) for item in self.prompts.prompts[:first])
        return all(key in self._taken for key in keys)

    def _take(self, text: str, seed: int, stack: Stack) -> Pixels:
        key = (text, seed, stack)
        if key not in self._taken:
            self._taken[key] = self._render(text, seed, stack)
            if self._on_picture is not None:
                self._on_picture(len(self._taken))
        return self._taken[key]

    def _render(self, text: str, seed: int, stack: Stack) -> Pixels:
        settings = self._settings
        image = self._renderer.render(
            RenderRequest(
                base_model=self._model.name,
                positive_prompt=text,
                seed=seed,
                num_inference_steps=settings.num_inference_steps,
                width_px=settings.size.width_px,
                height_px=settings.size.height_px,
                guidance=settings.guidance,
                adapters=stack,
                tier=self._tier,
                must_be_whole=False,
            )
        )
        # a renderer that says nothing of an adapter has not applied it
        self.applied.extend(image.applied or (AppliedAdapter(use.path, use.lora_scale, 0, 0, 0, 0) for use in stack))
        return image.pixels
