"""Black Forest Labs' FLUX.2 klein. Steps and guidance: mflux 0.24's own and, undistilled, those of the model's card."""

from sq_pipeline.base_models.record import QwenModel

MODELS = (
    QwenModel(
        name="flux2-klein-4b",
        aliases=("flux2-klein", "klein-4b", "klein"),
        family="flux2",
        mflux_name="flux2-klein-4b",
        hub_name="black-forest-labs/FLUX.2-klein-4B",
        scheduler="flow_match_euler_discrete",
        trained_over="flux2-klein-base-4b",
        num_inference_steps=4,
    ),
    QwenModel(
        name="flux2-klein-base-4b",
        aliases=("flux2-base-4b", "klein-base-4b"),
        family="flux2",
        mflux_name="flux2-klein-base-4b",
        hub_name="black-forest-labs/FLUX.2-klein-base-4B",
        scheduler="flow_match_euler_discrete",
        num_inference_steps=50,
        guidance=4.0,
    ),
)
