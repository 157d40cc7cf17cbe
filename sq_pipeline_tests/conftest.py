"""What every test may need: the shipped data directory, an environment that does not leak in, and two processes."""

import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# for the processes that tests start as well; before anything loads BLAS. Tests run beside each other, and threads that
# wait for each other take five times as long then; alone, one thread is as fast as two at the sizes of tests.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# where no bytecode is to be written, each of them would compile Dagster anew, which takes longer than most of the tests
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parents[1] / ".tmp" / "bytecode"))

import sq_pipeline.engines  # noqa: F401 - makes BLAS ready before any test module loads MLX
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.engines.kernel_folder import take_kernel_folder
from sq_pipeline_tests.compiler_cache import compile_once
from sq_pipeline_tests.dagster_logs import keep_logs_in_files

# In memory, where there is plenty: Dagster commits each of its events to the disk, which takes longer than the rest of
# many a test. What passed is removed at once, see `tmp_path_retention_policy`.
_MEMORY, _PLENTY_BYTES = Path("/dev/shm"), 6 * 2**30
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _PLENTY_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

compile_once()
keep_logs_in_files()
take_kernel_folder()  # test modules use engines past the factory too

settings.register_profile("tests", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("tests")

_MOST_PROCESSES = 4  # each may hold a model in memory

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as in a shell's background: the commands that tests start would inherit it, and Ctrl-C would not reach them
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A run of more than one file uses the machine's cores, as `-n` would; `-n 0` or `-p no:xdist` prevents it."""
    option = config.option
    is_one_file = len(files := {argument.partition("::")[0] for argument in config.args}) == 1 and ".py" in str(files)
    if not config.pluginmanager.hasplugin("xdist") or "PYTEST_XDIST_WORKER" in os.environ or is_one_file:
        return
    if option.numprocesses is None and option.dist == "no" and not option.usepdb:
        waits = option.markexpr == "long"  # for daemons, servers and children, half of its time
        option.numprocesses = min((os.cpu_count() or 1) + waits, _MOST_PROCESSES)
        option.dist = "loadfile"
    option.loadscopereorder = False  # the order is that of `pytest_collection_modifyitems`


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin: what is begun last ends last, and then one process would work alone."""

    def takes_s(item: pytest.Item) -> float:
        mark = item.get_closest_marker("takes")
        return mark.kwargs["s"] if mark else 0

    items.sort(key=takes_s, reverse=True)  # and otherwise as they were


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Have `make` fill a folder, once in a test run: whichever process is first; the others wait, and get the same."""
    done, failed = folder.with_name(f"{folder.name}.done"), folder.with_name(f"{folder.name}.failed")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if failed.exists():
            pytest.fail(f"another process could not make it:\n{failed.read_text()}", pytrace=False)
        if not done.exists():
            try:
                make(folder)
            except Exception:
                failed.write_text(traceback.format_exc())
                raise
            done.touch()
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same one for all of its processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made once"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQ_DATA", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shipped() -> DataDir:
    """The repository's own `data/`; tests read it and never write there."""
    return DataDir(shipped_data_root())


@pytest.fixture(scope="session", autouse=True)
def _shipped_stays(shipped: DataDir) -> Iterator[None]:
    """Tests' data directories link to it: one that wrote through a link would change what all others stand on."""
    before = _texts_of(shipped)
    yield
    assert _texts_of(shipped) == before


def _texts_of(data: DataDir) -> dict[Path, bytes]:
    folders = (data.keymaps_root, data.verify_prompts_root)
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


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
