"""Where commands write: looked at before work begins, never half there, never a user's file."""

import json
import multiprocessing
import os
import stat
import threading

import pytest

from nibblegrad.gen import outputs
from nibblegrad.gen.command_line import COMMANDS, main
from nibblegrad.gen.outputs import MANIFEST, OutputFolder
from nibblegrad.golden.errors import InputError

#: What each command that writes into a folder needs besides ``--output``.
LONG = {
    "verilog": (),
    "train": (),
    "robust": ("--reduced",),
    "cost": (),
    "fpga": (),
}


def test_every_command_that_writes_is_known_here():
    assert set(COMMANDS) - set(LONG) == {"bench", "cycles", "fit"}


@pytest.mark.parametrize("command", LONG)
def test_a_folder_that_cannot_be(command, tmp_path, capsys):
    """Said before any work: the whole test takes a second."""
    file = tmp_path / "file"
    file.write_text("mine")
    for output in (file, file / "in"):
        assert main([command, *LONG[command], "--output", str(output)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"nibblegrad {command}: error: Output {file}")
        assert "is not a folder" in said or "cannot be written: Not a directory" in said
        assert said.endswith("; name another one with --output\n")
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
    together = threading.Barrier(8, timeout=300)
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


def snapshot(folder):
    """Everything in a folder: links as what they lead to, files as what they hold."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        else:
            found[name] = path.read_bytes() if path.is_file() else "folder"
    return found


def test_files_of_ours_come_and_go(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    first = {"a.v": "a", "b.bin": b"\x00\xff", "pages/c.html": lambda path: path.write_text("c")}
    assert folder.install(first, inputs="one") == dict.fromkeys(first, "written")
    assert folder.is_current("one") and not folder.is_current("two")
    assert snapshot(tmp_path / "out")["pages/c.html"] == b"c"
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    second = {"a.v": "a", "b.bin": "new"}
    done = folder.install(second, inputs="two", stale=folder.names())
    assert done == {"a.v": "unchanged", "b.bin": "written", "pages/c.html": "removed"}
    assert set(snapshot(tmp_path / "out")) == {"a.v", "b.bin", MANIFEST}
    assert (tmp_path / "out/a.v").stat().st_mtime_ns == times[tmp_path / "out/a.v"]
    assert not folder.is_current("one") and folder.is_current("two")
    (tmp_path / "out/b.bin").write_text("edited")
    assert not folder.is_current("two")


#: What a user may have where a file is to be written.
USERS = {
    "a file": lambda path: path.write_text("mine"),
    "an edited file": None,
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("elsewhere"),
    "a link to a file": lambda path: path.symlink_to("../elsewhere"),
    "a link to the same": lambda path: (
        path.with_name("same").write_text("ours"),
        path.symlink_to("same"),
    ),
    "a linked folder": None,
    "a folder linked to nowhere": None,
}


@pytest.mark.parametrize("what", USERS)
@pytest.mark.parametrize("name", ["a.v", "pages/a.v"])
def test_files_of_a_user_stay(tmp_path, what, name):
    (tmp_path / "elsewhere").write_text("mine")
    place = tmp_path / "out"
    folder = OutputFolder(place)
    folder.install({"b.v": "b", **({name: "before"} if what == "an edited file" else {})})
    if "linked" in what:
        if name == "a.v":
            return
        if "nowhere" not in what:
            (tmp_path / "users").mkdir()
        (place / "pages").symlink_to(tmp_path / "users")
    elif what == "an edited file":
        (place / name).write_text("edited")
    else:
        (place / name).parent.mkdir(exist_ok=True)
        USERS[what](place / name)
    before = snapshot(tmp_path)
    is_folder = "folder" in what
    sentence = "is a folder or leads to one" if is_folder else "was not made here or has been chan"
    for call in (
        lambda: folder.check(["b.v", name]),
        lambda: folder.install({name: "ours", "c.v": "c"}),
        lambda: folder.install({"c.v": "c", name: "ours"}, stale=["b.v"]),
    ):
        with pytest.raises(InputError, match=f"^{place / name} {sentence}"):
            call()
        assert snapshot(tmp_path) == before, "all or none"
    # What is stale and was edited stays as well.
    folder.install({"b.v": "b"}, stale=[name])
    assert {key: value for key, value in snapshot(tmp_path).items() if key in before} | {
        f"out/{MANIFEST}": before[f"out/{MANIFEST}"]
    } == before
    forced = OutputFolder(place, force=True)
    if is_folder:
        with pytest.raises(InputError, match="is a folder or leads to one"):
            forced.install({name: "ours"})
    else:
        assert forced.install({name: "ours"}) == {name: "written"}
        assert (place / name).read_text() == "ours" and not (place / name).is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize(
    "listed",
    ["../users.v", "pages/../../users.v", "/users.v", "..\\users.v", "", ".", "./users.v"],
)
def test_a_manifest_reaches_nothing_outside(tmp_path, listed):
    """Whatever a manifest says, made by accident or on purpose."""
    users = tmp_path / "users.v"
    users.write_text("mine")
    place = tmp_path / "out"
    place.mkdir()
    name = str(users) if listed == "/users.v" else listed
    files = {name: [outputs._digest(users)]}
    (place / MANIFEST).write_text(json.dumps({"made by": "nibblegrad", "files": files}))
    folder = OutputFolder(place)
    folder.install({"a.v": "a"}, stale=[*folder.names(), name])
    assert users.read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": {"a.v": []}}', "\x00", '{"made by": 1}', "[" * 100_000]
)
def test_a_manifest_that_is_none_is_a_users_file(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    before = snapshot(tmp_path)
    folder = OutputFolder(tmp_path)
    assert folder.names() == [] and not folder.is_current("")
    with pytest.raises(InputError, match=f"{MANIFEST} was not made here"):
        folder.install({"a.v": "a"})
    assert snapshot(tmp_path) == before
    assert OutputFolder(tmp_path, force=True).install({"a.v": "a"}) == {"a.v": "written"}


@pytest.mark.parametrize("digests", [5, None, {"a": 1}, "text", [], [None]])
def test_an_entry_that_is_none_makes_a_file_the_users(tmp_path, digests):
    (tmp_path / "a.v").write_text("mine")
    listed = {"a.v": digests, "gone.v": digests}
    manifest = json.dumps({"made by": "nibblegrad", "files": listed})
    (tmp_path / MANIFEST).write_text(manifest)
    folder = OutputFolder(tmp_path)
    assert not folder.is_current("")
    with pytest.raises(InputError, match=r"a\.v was not made here"):
        folder.install({"a.v": "ours"}, stale=folder.names())
    folder.install({"b.v": "ours"}, stale=["a.v", "gone.v"])
    assert (tmp_path / "a.v").read_text() == "mine"


def test_what_fails_in_the_middle_leaves_all_as_it_was(tmp_path):
    folder = OutputFolder(tmp_path)
    folder.install({"a.v": "a", "b.v": "b"}, inputs="one")
    before = snapshot(tmp_path)

    def fail(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=rf"^Cannot write {tmp_path / 'b.v'}: No space left"):
        folder.install({"a.v": "new", "b.v": fail, "pages/c.html": "c"}, inputs="two")
    assert snapshot(tmp_path) == before and folder.is_current("one")


@pytest.mark.parametrize("count", range(6))
def test_interrupted_between_files_it_still_knows_its_own(tmp_path, monkeypatch, count):
    """Some files are new and some old then; the next run takes them all for its own."""
    folder = OutputFolder(tmp_path)
    folder.install({f"{number}.v": "old" for number in range(4)}, inputs="one")
    left = [count]
    replace = outputs.Path.replace

    def stop(path, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replace(path, target)

    new = {f"{number}.v": "new" for number in range(4)}
    with monkeypatch.context() as patch:
        patch.setattr(outputs.Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            folder.install(new, inputs="two")
    assert not folder.is_current("two")
    assert [path.name for path in tmp_path.glob(".*")] == []
    folder.install({f"{number}.v": "third" for number in range(3)}, inputs="3", stale=["3.v"])
    assert snapshot(tmp_path).keys() == {"0.v", "1.v", "2.v", MANIFEST} and folder.is_current("3")


def _install_often(place, number):
    for _ in range(20):
        contents = {f"{each}.v": f"{number} {each}" for each in range(30)}
        OutputFolder(place).install(contents, inputs=str(number))


def test_programs_that_write_to_one_folder(tmp_path):
    """Each finds the folder as the one before has left it, and the last one's set is whole."""
    context = multiprocessing.get_context("fork")
    programs = [context.Process(target=_install_often, args=(tmp_path, n)) for n in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert [program.exitcode for program in programs] == [0, 0, 0]
    found = snapshot(tmp_path)
    assert len(found) == 31
    winner = found["0.v"].decode()[0]
    assert all(found[f"{n}.v"].decode() == f"{winner} {n}" for n in range(30))
    assert OutputFolder(tmp_path).is_current(winner)


def test_verilog_into_a_users_folder(tmp_path, capsys):
    """A folder full of a user's files, and a list that names more of them elsewhere."""
    place, path = tmp_path / "out", tmp_path / "a.toml"
    path.write_text('[modules.a]\ncore = "step_gradient"\n')
    arguments = ["verilog", "--config", str(path), "--output", str(place)]
    (place / "sub").mkdir(parents=True)
    users = ["a.v", "notes.txt", "b.v", "sub/c.v", "../d.v", "b.core", "b_registers.h"]
    for name in users:
        (place / name).write_text(f"my {name}")
    (place / "filelist.f").write_text(f"a.v\nb.v\n../d.v\n{tmp_path / 'd.v'}\nsub/c.v\n")
    before = snapshot(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said == (
        f"nibblegrad verilog: error: {place / 'a.v'} was not made here or has been changed since; "
        "move it away, name another folder with --output, or overwrite it with --force\n"
    )
    assert snapshot(tmp_path) == before
    (place / "a.v").unlink()
    assert main(arguments) == 2
    assert f"{place / 'filelist.f'} was not made here" in capsys.readouterr().err
    (place / "filelist.f").unlink()
    assert main(arguments) == 0
    assert {"a.v", "filelist.f", "a.core", MANIFEST} <= set(snapshot(place))
    # Another configuration: what was made of the first one goes, and nothing else.
    (place / "a.sdc").write_text("my clock")
    path.write_text('[modules.z]\ncore = "step_gradient"\n')
    assert main(arguments) == 0
    assert f"{place / 'a.sdc'}: kept: it was changed" in capsys.readouterr().out
    after = snapshot(tmp_path)
    assert after["out/a.sdc"] == b"my clock" and "out/a.v" not in after and "out/z.v" in after
    for name in (
        "out/notes.txt",
        "out/b.v",
        "out/sub/c.v",
        "d.v",
        "out/b.core",
        "out/b_registers.h",
    ):
        assert after[name] == before[name]


def test_each_configuration_has_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("default", "mine"):
        text = f'[modules.{name}_one]\ncore = "step_gradient"\n'
        (tmp_path / f"{name}.toml").write_text(text)
        assert main(["verilog", "--config", f"{name}.toml"]) == 0
        assert (tmp_path / f"build/verilog-{name}/{name}_one.v").exists()
    assert not (tmp_path / "build/verilog").exists(), "that of the configuration that is shipped"
    capsys.readouterr()
    before = snapshot(tmp_path)
    assert main(["verilog", "--config", "mine.toml"]) == 0
    assert capsys.readouterr().out == "build/verilog-mine: all 10 files are up to date\n"
    assert snapshot(tmp_path) == before
