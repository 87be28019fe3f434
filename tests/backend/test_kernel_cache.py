"""Where compiled code is kept, and that nothing is run that is not what was kept."""

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest

import npresnet
from npresnet import _notices
from npresnet._notices import Notice
from npresnet.backend import kernel_cache
from npresnet.backend.kernels.compile import OPTIONS, _Cache

posix = pytest.mark.skipif(os.name == "nt", reason="owners and modes are POSIX's")


def treble(x):
    return 3 * x


def called(folder):
    """Call a compiled function as a new process does; tell how often it compiled."""
    compiled = numba.njit(**OPTIONS)(treble)
    compiled._cache = _Cache(treble, folder)
    assert compiled(14) == 42
    return sum(compiled.stats.cache_misses.values())


@pytest.fixture
def kept(tmp_path):
    """The file of a function that is kept."""
    assert called(tmp_path) == 1
    assert called(tmp_path) == 0
    (file,) = tmp_path.iterdir()
    return file


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch):
    """Let nothing have been chosen or said yet."""
    kernel_cache.choice.cache_clear()
    monkeypatch.setattr(_notices, "_said", set())
    yield
    kernel_cache.choice.cache_clear()


def flip(position):
    def damage(file):
        content = bytearray(file.read_bytes())
        content[int(position * (len(content) - 1))] ^= 4
        file.write_bytes(content)

    return damage


def replace_by_a_folder(file):
    file.unlink()
    (file / "with" / "more").mkdir(parents=True)


def replace_by_a_pipe(file):
    file.unlink()
    os.mkfifo(file)


def give_away(path):
    """Let a file or folder belong to somebody else."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        pytest.skip("only root can give files away")


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "one byte more": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "first bit": flip(0),
    "flipped in the checksum": flip(0.001),
    "flipped in the middle": flip(0.5),
    "last bit": flip(1),
    "another form": lambda file: file.write_bytes(
        file.read_bytes().replace(b"kernel 1", b"kernel 0")
    ),
    "a folder": replace_by_a_folder,
    "a pipe": replace_by_a_pipe,
    "writeable by all": lambda file: file.chmod(0o666),
    "somebody else's": give_away,
}


@posix
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_compiled_anew_and_replaced(kept, damage):
    damage(kept)
    assert called(kept.parent) == 1
    assert called(kept.parent) == 0
    assert [file.name for file in kept.parent.iterdir()] == [kept.name]


@posix
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_damaged_are_counted_and_removed(tmp_path, damage):
    for name in ("one", "two"):
        kernel_cache.save(tmp_path, name, "key", bytes(range(256)) * 20)
    damage(tmp_path / "one.nbc")
    assert kernel_cache.remove_damaged(tmp_path) == (1, 1)
    assert kernel_cache.remove_damaged(tmp_path) == (1, 0)
    assert kernel_cache.load(tmp_path, "two", "key") == bytes(range(256)) * 20


def test_code_under_another_ones_name_is_not_taken_for_it(tmp_path):
    kernel_cache.save(tmp_path, "one", "key", b"code")
    shutil.copy(tmp_path / "one.nbc", tmp_path / "two.nbc")
    assert kernel_cache.load(tmp_path, "one", "key") == b"code"
    assert kernel_cache.load(tmp_path, "two", "other key") is None


def test_two_processes_that_compile_one_function_keep_what_both_have_made(tmp_path):
    """Neither has seen the other's file, whoever was first."""
    writers = [numba.njit(**OPTIONS)(treble) for _ in range(2)]
    for writer in writers:
        writer._cache = _Cache(treble, tmp_path)
    assert [writer(value) for writer, value in zip(writers, (2, 0.5), strict=True)] == [
        6,
        1.5,
    ]
    reader = numba.njit(**OPTIONS)(treble)
    reader._cache = _Cache(treble, tmp_path)
    assert (reader(2), reader(0.5)) == (6, 1.5)
    assert not reader.stats.cache_misses
    assert len(list(tmp_path.iterdir())) == 2


def test_code_that_does_not_unpickle_is_compiled_anew(kept, monkeypatch):
    """As after a change of another library: the checksum is right."""
    monkeypatch.setattr(kernel_cache, "load", lambda *place: b"no pickle")
    assert called(kept.parent) == 1


def test_nothing_is_left_half_written_and_a_full_disk_is_said_once(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.warns(Notice) as said:
            assert called(tmp_path) == called(tmp_path) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    (text,) = [str(one.message) for one in said]
    assert text.startswith(f"{tmp_path}: ")
    assert "File too large" in text


def test_a_cache_that_was_removed_meanwhile_is_made_again(tmp_path):
    folder = tmp_path / "one" / "two"
    kernel_cache.save(folder, "name", "key", b"code")
    assert kernel_cache.load(folder, "name", "key") == b"code"


# ------------------------------------------------------------------ which folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home and a folder for temporary files of one's own, and nothing set."""
    for name in ("NPRESNET_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@posix
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "home/.cache/npresnet"),
        ({"NPRESNET_CACHE_DIR": ""}, "home/.cache/npresnet"),
        ({"NPRESNET_CACHE_DIR": " "}, "home/.cache/npresnet"),
        ({"NPRESNET_CACHE_DIR": "~/k"}, "home/k"),
        ({"NPRESNET_CACHE_DIR": "~"}, "home"),
        ({"NPRESNET_CACHE_DIR": "k"}, "k"),
        ({"NUMBA_CACHE_DIR": "~/numba"}, "home/numba/npresnet"),
        ({"NUMBA_CACHE_DIR": ""}, "home/.cache/npresnet"),
        ({"NPRESNET_CACHE_DIR": "k", "NUMBA_CACHE_DIR": "n"}, "k"),
        ({"NPRESNET_CACHE_DIR": "", "NUMBA_CACHE_DIR": "n"}, "n/npresnet"),
    ],
)
def test_the_environment_names_the_folder(home, monkeypatch, variables, expected):
    if sys.platform != "linux":
        pytest.skip("elsewhere caches have another place")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = kernel_cache.cache_folder()
    assert folder.parent == home.parent / expected
    assert folder.stat().st_mode & 0o777 == 0o700


def in_a_file(home):
    (home / "file").touch()
    return home / "file" / "k"


def open_to_all(home):
    folder = home / kernel_cache.choice().folder.name
    kernel_cache.choice.cache_clear()
    folder.mkdir()
    folder.chmod(0o777)
    return home


def somebody_elses(home):
    folder = home / kernel_cache.choice().folder.name
    kernel_cache.choice.cache_clear()
    folder.mkdir()
    give_away(folder)
    return home


@posix
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (in_a_file, "cannot be written (Not a directory)"),
        (open_to_all, "others than you may write to it; chmod -R go-w "),
        (somebody_elses, "belongs to another user, number 12345"),
        (lambda home: "~nobody-of-this-name/k", "no such home folder is known"),
    ],
)
def test_a_folder_that_will_not_do_is_named_and_a_private_one_takes_its_place(
    home, monkeypatch, spoil, why
):
    folder = spoil(home)
    monkeypatch.setenv("NPRESNET_CACHE_DIR", str(folder))
    with pytest.warns(Notice) as said:
        instead = kernel_cache.cache_folder()
        assert kernel_cache.cache_folder() == instead
    assert instead.parent == home.parent / "tmp" / f"npresnet-{os.geteuid()}"
    assert instead.stat().st_mode & 0o777 == 0o700
    (text,) = [str(one.message) for one in said]
    assert str(folder) in text
    assert why in text
    assert str(instead.parent) in text


@posix
def test_without_any_folder_it_is_said_that_every_process_compiles(home, monkeypatch):
    monkeypatch.setenv("NPRESNET_CACHE_DIR", str(in_a_file(home)))
    monkeypatch.setattr(tempfile, "tempdir", str(home / "file"))
    with pytest.warns(Notice, match="every process compiles"):
        assert kernel_cache.cache_folder() is None


@posix
def test_a_user_whom_nobody_knows_has_a_folder_all_the_same(home, monkeypatch):
    """As in containers, where a number is a user: no HOME, no entry in passwd."""
    import pwd

    def unknown(*who):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.warns(Notice, match="HOME names none"):
        folder = kernel_cache.cache_folder()
    assert folder.parent == home.parent / "tmp" / f"npresnet-{os.geteuid()}"
    assert not (home.parent / "~").exists()


@posix
def test_a_planted_folder_among_temporary_files_is_not_believed(home, monkeypatch):
    name = kernel_cache.choice().folder.name
    kernel_cache.choice.cache_clear()
    planted = home.parent / "tmp" / f"npresnet-{os.geteuid()}" / name
    planted.mkdir(parents=True)
    planted.chmod(0o777)
    monkeypatch.setenv("NPRESNET_CACHE_DIR", str(in_a_file(home)))
    with pytest.warns(Notice, match="every process compiles"):
        assert kernel_cache.cache_folder() is None


# ------------------------------------------------------- Python without sources


WITHOUT_SOURCES = """
import sys
from npresnet.backend import kernel_cache
from npresnet.backend.kernels.optim import _sgd_update  # decorating looked for a source
print(kernel_cache._fingerprint())
"""


def fingerprint_of(package):
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(package)!r})" + WITHOUT_SOURCES,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_without_sources_the_compiled_modules_decide_which_folder(tmp_path):
    package = tmp_path / "npresnet"
    inside = Path(npresnet.__file__).parent
    for room in ("backend", "untrusted"):
        shutil.copytree(inside / room, package / room)
    for path in inside.glob("*.py"):
        shutil.copy(path, package)
    changed = package / "backend" / "kernels" / "vectors.py"

    def compiled():
        compileall.compile_dir(package, legacy=True, quiet=2, force=True)
        without = tmp_path / f"without{len(list(tmp_path.iterdir()))}"
        shutil.copytree(
            package,
            without / "npresnet",
            ignore=shutil.ignore_patterns("*.py", "__pycache__"),
        )
        assert not list(without.rglob("*.py"))
        return fingerprint_of(without)

    first = compiled()
    assert compiled() == first
    changed.write_text(changed.read_text() + "\nANOTHER = 1\n")
    assert compiled() != first


CONVOLVE = """
import numpy as np, npresnet as nr
x, weight = np.ones((2, 16, 9, 9), np.float32), np.ones((16, 16, 3, 3), np.float32)
out, cache = nr.functional.conv2d_forward(x, weight, padding=1)
grads = nr.functional.conv2d_backward(out, cache)
print(float(out.sum()), *(float(grad.sum()) for grad in grads[:2]))
"""


@pytest.mark.slow
def test_processes_that_compile_at_once_from_nothing_agree(tmp_path):
    environment = {**os.environ, "NPRESNET_CACHE_DIR": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CONVOLVE],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    one, other = (process.communicate()[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert one == other
    # What they have kept serves a third one.
    code = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc"))
    third = subprocess.run(
        [sys.executable, "-c", CONVOLVE], env=environment, stdout=subprocess.PIPE
    )
    assert third.stdout.decode() == one
    assert len(code) > 3
    assert code == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc"))
