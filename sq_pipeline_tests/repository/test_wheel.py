"""The wheel, installed outside the checkout as the README says: what is shipped is in it, and its commands work."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

import sq_pipeline
from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline_tests.adapters.files import mlx_tensors, save

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
# what a checkout's `data/` holds after somebody worked in it; git ignores it, and no wheel may have it
_COMPUTED = (
    "store/records.sqlite",
    "content/lora/a/landscape.safetensors",
    "content/lora-datasets/a/landscape/0.png",
    "content/genre_packs/neon_tides/images/poi/hall.png",
)

Command = Callable[..., subprocess.CompletedProcess[str]]


def _call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    ours = ("PYTHONPATH", "SQ_DATA", "VIRTUAL_ENV", "DAGSTER_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def _uv(*arguments: str | Path, cwd: Path) -> str:
    uv = shutil.which("uv")
    assert uv is not None
    done = _call(uv, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _tracked(folder: str = "") -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", folder or "."]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with its wheel in `dist/`; somebody worked in its `data/`."""
    root = tmp_path_factory.mktemp("checkout") / "sq"
    for name in _tracked():
        if not name.startswith("sq_pipeline_tests/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    for name in _COMPUTED:
        (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / name).write_bytes(b"computed")
    _uv("build", "--wheel", cwd=root)
    return root


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    (path,) = (checkout / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(checkout: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and what it needs."""
    root = tmp_path_factory.mktemp("installed") / "venv"
    _uv("venv", "--python", sys.executable, root, cwd=checkout)
    _uv("pip", "install", "--python", root, wheel, cwd=checkout)  # in the checkout: its overrides and pins count
    return root


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Command:
    """Runs `sq-pipeline` of that environment in an empty folder."""
    empty = tmp_path / "empty"
    empty.mkdir()
    return lambda *arguments: _call(environment / "bin/sq-pipeline", *arguments, cwd=empty)


def _errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()


def test_it_carries_what_is_shipped_and_nothing_computed(wheel: Path) -> None:
    with ZipFile(wheel) as file:
        names = file.namelist()
    shipped = [name.replace("sq_pipeline/_shipped/", "data/") for name in names if "/_shipped/" in name]
    assert sorted(shipped) == _tracked("data")
    assert {"sq_pipeline/py.typed", "sq_pipeline/cli/__init__.py"} < {*names}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"sq_pipeline"}


def test_the_two_lists_do_elsewhere_what_the_checkout_does(environment: Path, wheel: Path, tmp_path: Path) -> None:
    uv = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    given: list[str | Path] = []
    for option, key in (("--override", "override-dependencies"), ("--constraint", "constraint-dependencies")):
        path = tmp_path / f"{key}.txt"
        path.write_text("\n".join(uv[key]))
        given += [option, path]
    told = _uv("pip", "install", "--dry-run", "--python", environment, wheel, *given, cwd=tmp_path)
    assert "Would make no changes" in told


def test_neither_a_gpu_nor_pytorch_is_brought(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    installed = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert {"sq_pipeline", "mflux", "mlx", "dagster"} < installed
    assert not {name for name in installed if name.startswith(("torch", "nvidia", "mlx_cuda"))}


def test_it_says_its_version(run: Command) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"sq-pipeline {sq_pipeline.__version__}\n")


def test_doctor_shows_the_base_model_that_it_carries(run: Command, environment: Path) -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    models = {model["name"]: model for model in report["base_models"]}
    assert models["tiny-flux"]["is_ready"]
    assert Path(models["tiny-flux"]["where"]).is_relative_to(environment.resolve())
    assert any("no data directory is named" in line for line in report["advice"])


def test_adapters_are_remapped_and_inspected(run: Command, tmp_path: Path) -> None:
    trained, remapped = tmp_path / "trained.safetensors", tmp_path / "remapped.safetensors"
    save(trained, mlx_tensors(FLUX1_MODELS["tiny-flux"]), {"lora_rank": "4"})
    for target in ("kohya", "diffusers", "mflux"):
        done = run("adapter", "remap", trained, remapped, "--target", target, "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(run("adapter", "inspect", remapped, "--json").stdout)
        covered = report["coverage"]
        assert (covered["covered"], covered["missing"], report["faults"]) == (covered["of"], [], [])


def test_nothing_is_written_into_the_installation(run: Command, environment: Path) -> None:
    before = sorted(path for path in environment.rglob("_shipped/**/*"))
    for command in ("demo", "plan", "run"):
        (line,) = _errors(run(command))
        assert line.startswith("error: --data: no data directory is named; ")
        assert "demo DIR" in line
    assert sorted(path for path in environment.rglob("_shipped/**/*")) == before


def test_a_demo_is_made_and_planned(run: Command, tmp_path: Path) -> None:
    done = run("demo", "new game", "--no-run")
    assert done.returncode == 0, done.stderr
    root = tmp_path / "empty/new game"
    assert {path.name for path in root.iterdir()} == {path.name for path in (ROOT / "data").iterdir()} - {"store"}
    done = run("plan", "--data", "new game", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (len(plan["stale"]), plan["fresh"], plan["blocked"], plan["faults"]) == (78, 0, [], [])
