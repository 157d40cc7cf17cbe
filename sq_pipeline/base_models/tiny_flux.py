"""tiny-flux: the base model that is shipped, small enough to train and render with on any machine."""

from sq_pipeline.base_models.record import Flux1Model, SizePx

MODELS = (
    Flux1Model(
        name="tiny-flux",
        aliases=("tiny",),
        mflux_name=None,
        hub_name=None,
        folders=(),
        files=("model.safetensors", "tokenizer.json"),
        double_blocks=2,
        single_blocks=4,
        hidden_size=256,
        num_inference_steps=8,
        # one tokenizer for both encoders, beside the weights
        t5_tokenizer=".",
        t5_token_budget=96,
        clip_tokenizer=".",
        sizes={
            "landscape": SizePx(128, 96),
            "portrait": SizePx(96, 128),
            "creature": SizePx(112, 112),
            "scene": SizePx(128, 96),
        },
        paints_words=False,
        training_size=SizePx(128, 96),
    ),
)
