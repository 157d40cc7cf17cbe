"""BLAS, tokenizers and weights' hashes: what surrounds the engines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common import stat_cache
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory, machine


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings its own BLAS")
def test_mlx_multiplies_through_openblas() -> None:
    """The library is loaded, and MLX's matrix product enters it: OpenBLAS's own thread pool shows in the process."""
    code = (
        "from sq_pipeline.engines import blas\n"
        "import mlx.core as mx, json\n"
        "report = blas.preload()\n"
        "mx.eval(mx.random.normal((512, 512)) @ mx.random.normal((512, 512)))\n"
        "print(json.dumps([report.name, 'libopenblas' in open('/proc/self/maps').read()]))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == ["OpenBLAS", True]


def test_openblas_is_many_times_faster_than_what_mlx_ships() -> None:
    """A ratio in one run: this process against one without OpenBLAS. The wheel's own is far slower."""
    if sys.platform != "linux":
        pytest.skip("elsewhere MLX brings its own BLAS")
    code = (
        "import sys, time\n"
        "if sys.argv[1] == 'with':\n"
        "    from sq_pipeline.engines import blas\n"
        "    blas.preload()\n"
        "import mlx.core as mx\n"
        "a = mx.random.normal((768, 768)); mx.eval(a)\n"
        "best = min((lambda s: (mx.eval(a @ a), time.perf_counter() - s)[1])(time.perf_counter()) for _ in range(4))\n"
        "print(best)\n"
    )
    seconds = {
        which: float(subprocess.run([sys.executable, "-c", code, which], capture_output=True, text=True).stdout)
        for which in ("with", "without")
    }
    assert seconds["without"] > 3 * seconds["with"]


def test_tokens_are_counted_as_mflux_tokenizes(shipped: DataDir) -> None:
    """With the end mark, as the tokenizers that mflux uses on the same files count."""
    from sq_pipeline.engines.tiny_flux import mflux_build

    counter = factory.token_counter("tiny-flux", shipped)
    tokenizers = mflux_build.build(shipped.models_root / "tiny-flux").tokenizers
    for text in ("a windmill", "Widow's Mill: the last water, for a day's ride", "spaghetti_western, ein Kaktus — ß"):
        counts = counter.count_tokens(text)
        assert counts.tokens == tokenizers["t5"].tokenize(text).input_ids.shape[1]
        assert counts.clip == tokenizers["clip"].tokenize(text).input_ids.shape[1]
    assert (counts.budget, counts.clip_budget) == (96, 77)


def test_weights_hash_is_of_the_bytes_and_hashed_once(
    data: DataDir, shipped: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = files.base_model_weights_hash("tiny-flux", data)
    assert first.startswith("sha256:")
    hashed: list[str] = []
    monkeypatch.setattr(stat_cache, "hash_file", lambda path, _: hashed.append(path.name) or "sha256:0")
    assert files.base_model_weights_hash("tiny-flux", data) == first
    assert hashed == []


def test_another_weight_is_another_hash(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> None:
    import os
    import shutil

    root = tmp_path_factory.mktemp("models")
    shutil.copytree(shipped.models_root, root / "models")
    copy = DataDir(root)
    before = files.base_model_weights_hash("tiny-flux", copy)
    assert before == files.base_model_weights_hash("tiny-flux", shipped_copy(tmp_path_factory, shipped))
    path = root / "models" / "tiny-flux" / "model.safetensors"
    os.utime(path)
    assert files.base_model_weights_hash("tiny-flux", copy) == before
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert files.base_model_weights_hash("tiny-flux", copy) != before


def shipped_copy(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> DataDir:
    """Another data directory with the same models: where it lies does not count."""
    root = tmp_path_factory.mktemp("other")
    (root / "models").symlink_to(shipped.models_root)
    return DataDir(root)


@pytest.mark.parametrize("name", ["flux1-dev", "schnell"])
def test_models_that_are_not_here_are_named_with_the_way_to_get_them(name: str, data: DataDir) -> None:
    with pytest.raises(BaseModelError, match=r"is not on this machine .*hf download"):
        files.base_model_weights_hash(name, data)


def test_an_unknown_model_lists_the_known_ones(data: DataDir) -> None:
    with pytest.raises(BaseModelError, match=r"use one of flux1-dev, .*, flux2-klein-4b, .*, tiny-flux, z-image"):
        factory.token_counter("sdxl", data)


def test_the_shipped_model_is_small_enough(shipped: DataDir) -> None:
    folder = shipped.models_root / "tiny-flux"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20_000_000
    config = json.loads((folder / "config.json").read_text())
    assert config["dims"]["hidden_size"] == BASE_MODELS["tiny-flux"].hidden_size
    assert "pretrain" in config["trained_with"]["command"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings its own BLAS")
@pytest.mark.parametrize(("asked", "wanted"), [(None, ["1", "all", "1"]), ("1", ["1", "1", "1"])])
def test_openblas_gets_one_thread_for_tiny_flux_and_every_core_for_wide_models(
    asked: str | None, wanted: list[str]
) -> None:
    """A person's own OPENBLAS_NUM_THREADS holds; and what holds is what OpenBLAS itself says."""
    code = (
        "from sq_pipeline.base_models.base_models import resolve_base_model\n"
        "from sq_pipeline.engines import blas, machine\n"
        "for name in ('tiny-flux', 'flux1-dev', 'tiny-flux-8bit'):\n"
        "    model = resolve_base_model(name)\n"
        "    blas.use_threads_for(model)\n"
        "    print(blas._openblas.openblas_get_num_threads(), blas.threads_for(model), machine.cores())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {} if asked is None else {"OPENBLAS_NUM_THREADS": asked}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    for line, threads in zip(answer.stdout.splitlines(), wanted, strict=True):
        found, told, cores = line.split()
        assert (found, told) == (cores if threads == "all" else threads,) * 2


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/\n", {"memory.max": "8589934592\n"}, [8589934592]),
        ("0::/a/b\n", {"a/memory.max": "max\n", "a/b/memory.max": "4096\n"}, [4096]),
        ("0::/a/b\n", {"a/memory.max": "1024\n", "a/b/memory.max": "max\n"}, [1024]),
        ("0::/not/shown/here\n", {"memory.max": "2048\n"}, [2048]),
        ("0::/../other\n", {"other/memory.max": "77\n"}, [77]),
        ("4:memory:/d\n3:cpu:/d\n", {"memory/d/memory.limit_in_bytes": "512\n"}, [512]),
        ("0::/\n", {"memory.max": "max\n"}, []),
        ("0::/\n", {}, []),
        ("", {"memory.max": "5\n"}, []),
    ],
)
def test_a_group_s_limit_on_memory_counts(
    groups: str, files: dict[str, str], limits: list[int], tmp_path: Path
) -> None:
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "cgroup").write_text(groups)
    assert machine.cgroup_limits(tmp_path / "cgroup", tmp_path / "mounted") == limits


def test_the_smaller_of_machine_and_limit_is_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert machine.cgroup_limits(tmp_path / "none", tmp_path) == []  # no Linux
    monkeypatch.setattr(machine, "cgroup_limits", lambda: [1 << 20, 1 << 60])
    assert machine.memory_bytes() == 1 << 20
