"""Tongyi-MAI's Z-Image models. Steps and guidance: mflux 0.24's own and, undistilled, those of the model's card."""

from sq_pipeline.base_models.record import QwenModel

MODELS = (
    QwenModel(
        name="z-image",
        aliases=("zimage",),
        family="z-image",
        mflux_name="z-image",
        hub_name="Tongyi-MAI/Z-Image",
        scheduler="flow_match_euler_discrete",
        num_inference_steps=50,
        guidance=4.0,
        reads_negative_prompt=True,
    ),
    QwenModel(
        name="z-image-turbo",
        aliases=("zimage-turbo",),
        family="z-image",
        mflux_name="z-image-turbo",
        hub_name="Tongyi-MAI/Z-Image-Turbo",
        assistant="ostris/zimage_turbo_training_adapter:zimage_turbo_training_adapter_v2.safetensors",
        num_inference_steps=9,
    ),
)
