"""stub"""
from dataclasses import dataclass
@dataclass(frozen=True)
class StepShape:
    text_tokens: int
    image_tokens: int
    batch_size: int
