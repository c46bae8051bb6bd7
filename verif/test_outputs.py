"""Where commands write: looked at before work begins, and never half there."""

import os
import stat
import threading

import pytest

from gen import outputs
from gen.__main__ import COMMANDS, main
from golden.errors import InputError

#: What each command that writes into a folder needs besides ``--output``.
LONG = {
    "verilog": (),
    "train": (),
    "robust": ("--reduced",),
    "cost": (),
    "fpga": (),
}


def test_every_command_that_writes_is_known_here():
    assert set(COMMANDS) - set(LONG) == {"bench", "fit"}


@pytest.mark.parametrize("command", LONG)
def test_a_folder_that_cannot_be(command, tmp_path, capsys):
    """Said before any work: the whole test takes a second."""
    file = tmp_path / "file"
    file.write_text("mine")
    for output, reason in ((file, "is not a folder"), (file / "in", "cannot be written: Not a")):
        assert main([command, *LONG[command], "--output", str(output)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"nibblegrad {command}: error: Output {file}")
        assert reason in said and said.endswith("; name another one with --output\n")
        assert said.count("\n") == 1
    assert file.read_text() == "mine"


def test_a_folder_that_must_not_be_written(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"^Output .* cannot be written: Permission denied; name"):
        outputs.prepare_folder(tmp_path)


def test_a_disk_that_is_full(tmp_path):
    with pytest.raises(InputError, match=r" MB free, and 1,000,000,000 MB are needed; make room"):
        outputs.prepare_folder(tmp_path, 10**15)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"

    def write(partial):
        partial.write_text("half")
        assert not path.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outputs.replace_file(path, write)
    assert list(path.parent.iterdir()) == []
    assert outputs.write_if_changed(path, "é\n") and not outputs.write_if_changed(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~outputs._umask()


def test_two_at_once(tmp_path):
    """Temporary names are nobody else's."""
    path = tmp_path / "a.txt"
    together = threading.Barrier(8)
    failed = []

    def make(number):
        def write(partial):
            partial.write_text(str(number) * 1000)
            together.wait()

        try:
            outputs.replace_file(path, write)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(path.read_text())) == 1 and os.listdir(tmp_path) == ["a.txt"]
