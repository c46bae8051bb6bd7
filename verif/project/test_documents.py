"""Every command of README and handbook is run, as it is printed, without the environment's PATH."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from verif.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: What stands for a value in the text, and a value.
PLACEHOLDERS = {
    "RATE": "0.2",
    "ARGS=...": "ARGS=--seeds=1",
    "TARGET=NAME": "TARGET=ecp5-25k",
    "VERILOG=netlist.v": "VERILOG=build/netlist.v",
    "--cores DIR": "--cores verif/cores/toy_core",
    "--methods DIR": "--methods docs/examples/methods",
}

#: Commands that take longer than a test may, or change more than a checkout: what is done instead.
#: DRY asks make what it would do. DOOR gives a folder that cannot be written: the command takes its
#: options and the data, and goes as far as the work itself.
DRY, DOOR, NOT = "dry", "door", "not"
INSTEAD = {
    r"make (test|test-all|lint|bench|dist)\b.*": DRY,
    r"make (cost|robust|fpga)\b.*": DOOR,
    r"make train BACKEND=rtl.*": DOOR,
    r"\.venv/bin/nibblegrad train --seeds 10\b.*": DOOR,
    r"\.venv/bin/nibblegrad bench": NOT,  # `make bench` is the same
    # An hour, and it changes the package.
    r"\.venv/bin/python -m nibblegrad\.gen\.flow\.calibrate.*": NOT,
    r"(\.venv/bin/)?pip install .*": NOT,  # it changes the environment
    r"vivado .*": NOT,  # the page says that nobody has
}

#: Programs that a machine may lack.
OPTIONAL = ("iverilog",)

#: What a shell calls the status of a command that was interrupted.
INTERRUPTED = 130

#: What is quick enough for `make test`.
QUICK = r".*(--list|--help|nibblegrad (cycles|fit)\b).*"


def instead(command):
    return next((how for pattern, how in INSTEAD.items() if re.fullmatch(pattern, command)), "")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands(text):
    """Take a block apart: a command each, without comment; lines that go on are joined."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"\s+#.*", "", line).strip()
        if command:
            yield command


def in_the_text():
    """Commands within sentences, each once, with values for what stands for one."""
    found = {}
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        for command in re.findall(
            r"`((?:make|(?:\.venv/bin/)?(?:nibblegrad|python|pip|yowasp-\w+)) [^`]+)`", text
        ):
            for word, value in PLACEHOLDERS.items():
                command = command.replace(word, value)
            found.setdefault(re.sub(r"\s+", " ", command), page)
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what is checked out, with the packages of this environment."""
    prefix = Path(sys.prefix)
    # The commands need what make installs, and nothing may be installed here.
    if not (prefix / ".installed-test").exists():
        pytest.skip("this environment was not made by make")
    where = tmp_path_factory.mktemp("documents") / "code"
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, where, ignore=ignored)
    # With stamps of its own, older than nothing: make must not install the copy, nor anything else,
    # into the environment that all tests run in.
    environment = where / ".venv"
    environment.mkdir()
    for path in prefix.iterdir():
        if not path.name.startswith("."):
            (environment / path.name).symlink_to(path)
    stamps = [
        environment / f".installed{extra}" for extra in ("", "-train", "-test", "-fpga", "-dist")
    ]
    for path in (*stamps, where / "pyproject.toml", where / "verif/verilator.sh"):
        path.touch()
        os.utime(path, (1, 1))
    shutil.copy(where / "gen/configs/default.toml", where / "mine.toml")
    for folder in ("before", "after"):
        write_modules(where / folder)
    return where


def write_modules(folder):
    """Write what `nibblegrad verilog` would, of a module that tools are quick with."""
    folder.mkdir()
    (folder / "SUMMARY.md").write_text("| [`stage`](stage.v) | core | 1 | |\n")
    (folder / "stage.v").write_text(
        "module stage (input aclk, input d, output reg q);\n"
        "  reg first;\n"
        "  always @(posedge aclk) {q, first} <= {first, d};\n"
        "endmodule\n"
    )


def run(where, script, seconds=None):
    """Run a script in the shell of somebody who has not activated the environment.

    What has not ended after so many seconds is interrupted, as by Ctrl-C, and has status 130.
    """
    folders = os.environ["PATH"].split(os.pathsep)
    path = [folder for folder in folders if not folder.startswith(sys.prefix)]
    kept = {key: os.environ[key] for key in ("HOME", "CCACHE_DIR") if key in os.environ}
    process = subprocess.Popen(
        ["sh", "-ec", script],
        cwd=where,
        env={**kept, "PATH": os.pathsep.join(path), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, it is ignored, and would be here.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        output = process.communicate(timeout=seconds)[0]
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        output, status = process.communicate()[0], INTERRUPTED
    return subprocess.CompletedProcess(script, status, output)


def test_nothing_is_installed(checkout):
    """What a page says runs beside other tests, which need the environment as it is."""
    for target in (
        "setup",
        "verilog",
        "test-all",
        "train",
        "cost",
        "fpga",
        "bench",
        "robust",
        "dist",
    ):
        result = run(checkout, f"make -n {target}")
        assert result.returncode == 0 and not re.search("pip install|^install", result.stdout, re.M)


def program_of(command):
    """Take a program from the environment if it is not said to be there."""
    return command if command.startswith(("make", ".")) else f".venv/bin/{command}"


def check(where, command):
    """Run a command that stands alone, or do what stands for that."""
    how = instead(command)
    if how == DRY:
        result = run(where, command.replace("make ", "make -n ", 1))
        assert result.returncode == 0 and result.stdout, f"{command}\n{result.stdout}"
    elif how == DOOR:
        option = " OUTPUT=/dev/null/x" if command.startswith("make") else " --output /dev/null/x"
        result = run(where, program_of(command) + option)
        assert "Output /dev/null/x" in result.stdout, f"{command}\n{result.stdout}"
        assert result.returncode == 2, f"{command}\n{result.stdout}"
    elif how != NOT:
        result = run(where, program_of(command))
        assert result.returncode == 0, f"{command}\n{result.stdout[-4000:]}"


def is_quick(command):
    return bool(instead(command) or re.fullmatch(QUICK, command))


def as_parameter(command):
    return pytest.param(command, marks=[] if is_quick(command) else [pytest.mark.slow])


@pytest.mark.parametrize("command", [as_parameter(command) for command in in_the_text()])
def test_commands_in_the_text(checkout, command):
    check(checkout, command)


@pytest.mark.parametrize("command", [command for command in in_the_text() if not is_quick(command)])
def test_long_commands_begin(checkout, command):
    """What is wrong with a command it says at once: an option, a folder that is not there."""
    result = run(checkout, program_of(command), seconds=3)
    # What only `make test-all` installs is asked for behind all that can be wrong.
    is_right = result.returncode in (0, INTERRUPTED) or "run `make fpga-tools`" in result.stdout
    assert is_right, f"{command}\n{result.stdout[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "sh")], ids=lambda page: page.name
)
def test_blocks(checkout, page):
    """The blocks of a page are one after the other what a reader types into one shell."""
    lines = []
    for block in blocks(page, "sh"):
        for command in commands(block):
            if instead(command):
                check(checkout, command)
            elif command.split()[0] not in OPTIONAL or shutil.which(command.split()[0]):
                lines.append(command)
    result = run(checkout, "\n".join(lines))
    assert result.returncode == 0, f"{lines}\n{result.stdout[-4000:]}"


#: Blocks that are no programs but a line or two of one; the examples that they are of are tested.
FRAGMENT = r"(self\.|m\.)"


def programs():
    for page in PAGES:
        for number, block in enumerate(blocks(page, "python")):
            if not re.match(FRAGMENT, block):
                yield pytest.param(block, id=f"{page.stem}-{number}")


SERIAL = '''
class Serial:
    """Stands for a board behind the line, which answers as the golden model of the bridge."""

    def __init__(self, port, baud, timeout): ...
    def write(self, message):
        from nibblegrad.golden.host import host_bridge
        assert message == host_bridge.read(0)
    def read(self, count):
        from nibblegrad.golden.engine.registers import IDENTIFIER
        return bytes(1) + IDENTIFIER.to_bytes(4, "little")
'''


@pytest.mark.slow
@pytest.mark.parametrize("program", list(programs()))
def test_programs(checkout, tmp_path, program):
    """What a page says that it prints, it prints."""
    (tmp_path / "serial.py").write_text(SERIAL)
    (tmp_path / "program.py").write_text(program)
    result = run(checkout, f"PYTHONPATH=.:{tmp_path} .venv/bin/python {tmp_path}/program.py")
    assert result.returncode == 0, result.stdout[-4000:]
    for said in re.findall(r"^print\(.*\)  # ([0-9a-f]+):", program, re.M):
        assert said in result.stdout


def test_commands_that_are_not_run_are_the_exception():
    """A pattern that matches nothing any more, or everything, is a mistake."""
    printed = [
        command for page in PAGES for block in blocks(page, "sh") for command in commands(block)
    ]
    printed += in_the_text()
    for pattern in INSTEAD:
        matching = [command for command in printed if re.fullmatch(pattern, command)]
        assert matching, pattern
    assert sum(instead(command) == NOT for command in printed) < len(printed) / 4
