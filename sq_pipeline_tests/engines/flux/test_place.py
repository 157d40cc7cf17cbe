"""Where FLUX.1's transformer is found on this machine; where it is not, the commands that get it, and no download."""

import socket
from pathlib import Path

import pytest

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no network; returns where a snapshot of FLUX.1-dev would be."""

    def never(*_arguments: object) -> None:
        raise AssertionError("nothing may be fetched unasked")

    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--black-forest-labs--FLUX.1-dev"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return repository / "snapshots" / ("0" * 40)


def test_a_model_that_is_not_here_says_how_to_get_it(tmp_path: Path, hub: Path) -> None:
    data = DataDir(tmp_path)
    for stage in ("not in the cache", "a part is in the cache", "an empty folder in models"):
        if stage.startswith("a part"):
            (hub / "vae").mkdir(parents=True)
        if stage.startswith("an empty"):
            (data.models_root / "flux1-dev").mkdir(parents=True)
        with pytest.raises(BaseModelError) as caught:
            files.training_places(BASE_MODELS["flux1-dev"], data)
        (fault,) = caught.value.faults
        assert fault.file == (data.relative(hub) if stage.startswith("a part") else "models/flux1-dev")
        for word in ("accept the licence", "hf auth login", "hf download black-forest-labs/FLUX.1-dev"):
            assert word in fault.hint


def test_the_data_directory_comes_before_the_cache_and_a_folder_before_a_file(tmp_path: Path, hub: Path) -> None:
    dev, data = BASE_MODELS["flux1-dev"], DataDir(tmp_path)
    hub.mkdir(parents=True)
    (hub / "flux1-dev.safetensors").touch()
    assert files.transformer_in(files.training_folder(dev, data), dev) == hub / "flux1-dev.safetensors"
    (hub / "transformer").mkdir()
    assert files.transformer_in(files.training_folder(dev, data), dev) == hub
    local = data.models_root / "flux1-dev"
    local.mkdir(parents=True)
    (local / "flux1-dev.safetensors").touch()
    assert files.transformer_in(files.training_folder(dev, data), dev) == local / "flux1-dev.safetensors"
    (local / "transformer").mkdir()
    assert files.transformer_in(files.training_folder(dev, data), dev) == local
