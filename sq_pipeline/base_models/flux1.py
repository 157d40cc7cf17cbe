"""Black Forest Labs' FLUX.1 models. Not here: the modules of their blocks (`flux_modules`)."""

from sq_pipeline.base_models.record import Flux1Model

MODELS = (
    Flux1Model(
        name="flux1-dev",
        aliases=("dev", "flux", "flux1.dev", "flux.1-dev"),
        mflux_name="dev",
        hub_name="black-forest-labs/FLUX.1-dev",
        is_gated=True,
        single_file="flux1-dev.safetensors",
        double_blocks=19,
        single_blocks=38,
        hidden_size=3072,
        num_inference_steps=25,
        guidance=3.5,
        t5_token_budget=512,
    ),
    Flux1Model(
        name="flux1-schnell",
        aliases=("schnell", "flux1.schnell", "flux.1-schnell"),
        mflux_name="schnell",
        hub_name="black-forest-labs/FLUX.1-schnell",
        single_file="flux1-schnell.safetensors",
        double_blocks=19,
        single_blocks=38,
        hidden_size=3072,
        num_inference_steps=4,
        t5_token_budget=256,
    ),
)
