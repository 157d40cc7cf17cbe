"""What every test may need: the shipped data directory, and an environment that does not leak in."""

import signal
from pathlib import Path

import pytest

import sq_pipeline.engines  # noqa: F401 - makes BLAS ready before any test module loads MLX
from sq_pipeline.common.layout import DataDir, shipped_data_root

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as in a shell's background: the commands that tests start would inherit it, and Ctrl-C would not reach them
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQ_DATA", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shipped() -> DataDir:
    """The repository's own `data/`; tests read it and never write there."""
    return DataDir(shipped_data_root())


def link_shipped(root: Path, shipped: DataDir) -> DataDir:
    """An empty data directory that has the shipped models, keymaps and verify prompts, by link."""
    (root / "content").mkdir(parents=True)
    for name in ("models", "keymaps", "verify_prompts"):
        (root / name).symlink_to(shipped.root / name)
    return DataDir(root)


@pytest.fixture
def data(tmp_path: Path, shipped: DataDir) -> DataDir:
    """A data directory of the test's own, see `link_shipped`."""
    return link_shipped(tmp_path / "data", shipped)
