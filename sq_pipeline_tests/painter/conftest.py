"""What the tests of this folder share and is too dear to make twice: the demo's drawn datasets, a judge."""

from pathlib import Path

import pytest

from sq_pipeline.painter.datasets import draw_demo_datasets
from sq_pipeline.painter.judge import Judge


@pytest.fixture(scope="session")
def demo_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`content/lora-datasets` of a data directory, with the demo's three datasets drawn. Read only."""
    root = tmp_path_factory.mktemp("demo") / "content" / "lora-datasets"
    assert draw_demo_datasets(root) == 3
    return root


@pytest.fixture(scope="session")
def small_judge() -> Judge:
    """A judge with one reference for each combination of words; the measured one has six."""
    return Judge(copies=1)
