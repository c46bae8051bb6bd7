"""Options shared by all tests, and the summary of what the hardware matched."""

import argparse
import fcntl
import json
import os
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from nibblegrad.golden.errors import InputError

NETLIST = pytest.StashKey()
OWN_CORES = pytest.StashKey()


def _seed(text):
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < 1 << 64:
        raise argparse.ArgumentTypeError(f"a seed must be 0 to 2**64 - 1, not {text!r}")
    return seed


def pytest_addoption(parser):
    group = parser.getgroup("hardware")
    group.addoption("--seed", type=_seed, default=1, help="seed of everything random in benches")
    group.addoption("--waves", action="store_true", help="leave a dump.vcd beside each model")
    group.addoption(
        "--verilog",
        type=Path,
        metavar="FILE",
        help="netlist of a module: run its bench on that, and nothing else",
    )
    group.addoption(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration the netlist was made of (default: gen/configs/default.toml)",
    )
    group.addoption(
        "--cores",
        type=Path,
        metavar="DIR",
        help="folder of cores: hold these to the contract of every core, and nothing else",
    )


def pytest_configure(config):
    path, cores = config.getoption("--verilog"), config.getoption("--cores")
    try:
        if path is not None:
            config.stash[NETLIST] = _read_netlist(path, config.getoption("--config"))
        if cores is not None:
            config.stash[OWN_CORES] = _read_cores(cores)
    except InputError as error:
        pytest.exit(str(error), returncode=2)
    if not hasattr(config, "workerinput"):
        from verif.support.sim import REPORTS

        shutil.rmtree(REPORTS, ignore_errors=True)
        REPORTS.mkdir(parents=True, exist_ok=True)


def pytest_report_header(config):
    """Name the seed at the start."""
    return f"seed {config.getoption('--seed')}"


def _read_netlist(path, configuration):
    from nibblegrad.gen import config
    from verif.support.netlist import read_netlist

    configuration = configuration or config.DEFAULT
    return read_netlist(path, config.load(configuration), configuration)


def _read_cores(folder):
    from nibblegrad.gen.cores import CORES, with_folder

    return {name: core for name, core in with_folder(folder).items() if name not in CORES}


def pytest_generate_tests(metafunc):
    """Give a test of every core all of them, and one of every module their samples."""
    if not {"every_core", "every_module"} & set(metafunc.fixturenames):
        return
    from nibblegrad.gen.cores import CORES

    cores = metafunc.config.stash.get(OWN_CORES, CORES)
    if "every_core" in metafunc.fixturenames:
        metafunc.parametrize("every_core", cores.values(), ids=cores)
    if "every_module" in metafunc.fixturenames:
        modules = {
            name: core.config(**sample.keys)
            for core in cores.values()
            for name, sample in core.samples.items()
        }
        metafunc.parametrize("every_module", modules.values(), ids=modules)


def _is_chosen(config, item):
    """Tell whether a test is one of the given netlist, or of given cores; or of neither."""
    if OWN_CORES in config.stash:
        return bool({"every_core", "every_module"} & set(item.fixturenames))
    return ("given_netlist" in item.fixturenames) == (NETLIST in config.stash)


def pytest_collection_modifyitems(config, items):
    """Choose the tests of the given netlist, or of given cores, or all but these."""
    others = [item for item in items if not _is_chosen(config, item)]
    items[:] = [item for item in items if item not in others]
    config.hook.pytest_deselected(items=others)


@pytest.fixture
def given_netlist(request):
    """Give the netlist of the option ``--verilog``."""
    return request.config.stash[NETLIST]


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Texts of the files of the default configuration, by name; made once for all workers."""
    from nibblegrad.gen import config, emit

    where = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        where = where.parent
    with open(where / "texts.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = where / "texts.json"
        if not made.exists():
            made.write_text(json.dumps(emit.files(config.load(config.DEFAULT))))
    return json.loads(made.read_text())


@pytest.fixture(scope="module")
def folder(texts, tmp_path_factory):
    """A folder with the files of the default configuration."""
    where = tmp_path_factory.mktemp("verilog")
    for name, text in texts.items():
        (where / name).write_text(text)
    return where


@pytest.fixture
def sim(request):
    """Run benches, words of one string, on a component or a netlist.

    See :func:`verif.support.sim.simulate`.
    """
    for tool, package in (("g++", "g++"), ("make", "make"), ("perl", "perl")):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not on the PATH; install it, such as `apt install {package}`")
    from verif.support.rooms import bench_module
    from verif.support.sim import simulate

    def run(design, bench, params=None, test=None, seed=None):
        simulate(
            design,
            [bench_module(name) for name in bench.split()],
            params or {},
            seed=request.config.getoption("--seed") if seed is None else seed,
            waves=request.config.getoption("--waves") or bool(os.environ.get("WAVES")),
            test=test,
        )

    return run


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Say how many vectors each core matched, which bins were covered how often, and how to repeat.

    The seed is named at the end where a test failed.
    """
    from verif.support.sim import REPORTS

    if exitstatus:
        seed = config.getoption("--seed")
        terminalreporter.section("seed")
        terminalreporter.line(f"SEED={seed} repeats what was drawn by chance")
    vectors, bins = Counter(), defaultdict(Counter)
    for path in sorted(REPORTS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            report = json.loads(line)
            vectors[report["core"]] += report["vectors"]
            bins[report["core"]].update(report["bins"])
    if not vectors:
        return
    terminalreporter.section("hardware against golden model, bit for bit")
    for core in sorted(vectors):
        terminalreporter.line(f"{core}: {vectors[core]:,} vectors matched")
        for name, count in sorted(bins[core].items()):
            terminalreporter.line(f"    {name}: {count:,}")
