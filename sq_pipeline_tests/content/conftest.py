"""A data directory of its own for each test. Not here: any content, which the tests write themselves."""

from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """An empty data directory."""
    root = tmp_path / "data"
    (root / "content" / "lora").mkdir(parents=True)
    return DataDir(root)
