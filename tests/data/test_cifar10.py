import gzip
import hashlib
import importlib
import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest

from npresnet.data import _official, cifar10

RECORDS = 20  # per batch file, in the small CIFAR-10 of conftest.py


def message_of(error, call, *arguments, **options):
    with pytest.raises(error) as raised:
        call(*arguments, **options)
    text = str(raised.value)
    assert "\n" not in text
    return text


def assert_is(small, loaded):
    """Check both splits against the batches that were written."""
    train, test = loaded
    images, labels = small.images, small.labels
    np.testing.assert_array_equal(train.images, images[:5].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(train.labels, labels[:5].reshape(-1))
    np.testing.assert_array_equal(test.images, images[5])
    np.testing.assert_array_equal(test.labels, labels[5])
    for part in loaded:
        assert part.images.dtype == np.uint8 and part.images.flags.c_contiguous
        assert part.images.flags.writeable
        assert part.labels.dtype == np.int64
        assert part.classes[3] == "cat" and len(part.classes) == 10
        assert part.name == "cifar10"


@pytest.mark.parametrize("layout", ["binary", "python"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("named", [False, True], ids=["inside", "itself"])
def test_every_layout_gives_the_same_arrays(
    layout, packed, named, small_cifar, make_archive, tmp_path
):
    where = getattr(small_cifar, f"write_{layout}")(tmp_path)
    if packed:
        where = make_archive(where, tmp_path / f"cifar-10-{layout}.tar.gz")
        for folder in tmp_path.glob("cifar-10-batches-*"):
            shutil.rmtree(folder)
    before = sorted(tmp_path.rglob("*"))
    assert_is(small_cifar, cifar10(where if named else str(tmp_path)))
    assert sorted(tmp_path.rglob("*")) == before  # an archive is not unpacked


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_batches_pickled_again_by_python_3_are_read(protocol, small_cifar, tmp_path):
    small_cifar.write_python(tmp_path, lambda value: pickle.dumps(value, protocol))
    assert_is(small_cifar, cifar10(tmp_path))


def test_batches_whose_keys_are_bytes_are_read(small_cifar, tmp_path):
    def dump(batch):
        return pickle.dumps({key.encode(): batch[key] for key in batch}, 3)

    small_cifar.write_python(tmp_path, dump)
    assert_is(small_cifar, cifar10(tmp_path))


def test_a_complete_folder_goes_before_an_incomplete_one(small_cifar, tmp_path):
    (small_cifar.write_binary(tmp_path) / "test_batch.bin").unlink()
    small_cifar.write_python(tmp_path)
    assert_is(small_cifar, cifar10(tmp_path))


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_class_names_need_no_file(layout, small_cifar, tmp_path):
    folder = getattr(small_cifar, f"write_{layout}")(tmp_path)
    for meta in folder.glob("batches.meta*"):
        meta.unlink()
    assert_is(small_cifar, cifar10(tmp_path))


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_folder_says_what_was_looked_for(exists, tmp_path):
    where = tmp_path if exists else tmp_path / "nowhere"
    found = "nothing there is like it" if exists else "there is no such folder"
    assert message_of(FileNotFoundError, cifar10, where) == (
        f"{where}: no CIFAR-10 here; looked for cifar-10-batches-bin/, "
        "cifar-10-batches-py/, cifar-10-binary.tar.gz and cifar-10-python.tar.gz "
        f"(or .tar, or .zip), there and one folder deeper; {found} "
        "(download=True fetches it)"
    )


@pytest.mark.parametrize("named", [True, False])
def test_missing_files_are_named(named, small_cifar, tmp_path):
    folder = small_cifar.write_binary(tmp_path)
    (folder / "data_batch_2.bin").unlink()
    (folder / "test_batch.bin").unlink()
    expected = f"{folder}: missing data_batch_2.bin, test_batch.bin"
    where = folder if named else tmp_path
    assert message_of(FileNotFoundError, cifar10, where) == expected
    # Nothing is fetched over a folder that is there in part.
    assert message_of(FileNotFoundError, cifar10, where, download=True) == expected


def test_an_empty_batches_folder_is_missing_everything(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    text = message_of(FileNotFoundError, cifar10, tmp_path)
    assert text.endswith(
        "cifar-10-batches-py: missing data_batch_1, data_batch_2, data_batch_3, "
        "data_batch_4, data_batch_5, test_batch"
    )


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_a_binary_batch_must_have_the_exact_size(change, small_cifar, tmp_path):
    path = small_cifar.write_binary(tmp_path) / "data_batch_4.bin"
    size = RECORDS * 3073
    path.write_bytes((path.read_bytes() + b"\0")[: size + change])
    assert message_of(ValueError, cifar10, tmp_path) == (
        f"{path}: {size + change:,} bytes, expected 61,460, 20 records of 3,073"
    )


@pytest.fixture
def declared_official(monkeypatch):
    """Make the batches of a folder the official ones."""

    def declare(folder):
        known = {}
        for path in folder.glob("*_batch*"):
            algorithm = "sha1" if path.suffix else "md5"
            digest = hashlib.new(algorithm, path.read_bytes()).hexdigest()
            known[path.name] = (algorithm, digest)
        assert known.keys() <= _official._KNOWN.keys()
        assert len(known) == 6
        monkeypatch.setattr(_official, "_KNOWN", known)

    return declare


@pytest.mark.parametrize("layout", ["binary", "python"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_flipped_bit_in_an_official_batch_is_noticed(
    layout, packed, small_cifar, make_archive, declared_official, tmp_path
):
    folder = getattr(small_cifar, f"write_{layout}")(tmp_path)
    declared_official(folder)
    assert_is(small_cifar, cifar10(tmp_path))
    path = next(folder.glob("data_batch_3*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 40] ^= 1  # a pixel in either layout
    path.write_bytes(content)
    where = tmp_path
    if packed:
        where = make_archive(folder, tmp_path / "edited.tar.gz")
        path = where / path.name
    message = message_of(ValueError, cifar10, where)
    assert message.startswith(f"{path}: damaged or edited: ")
    assert message.endswith("while 5 of the 6 batches are official to the byte")


def test_a_copy_of_another_make_is_believed(small_cifar, declared_official, tmp_path):
    folder = small_cifar.write_binary(tmp_path)
    declared_official(folder)
    small_cifar.images ^= 1
    for path in folder.glob("*.bin"):
        path.unlink()
    (folder / "batches.meta.txt").unlink()
    folder.rmdir()
    small_cifar.write_binary(tmp_path)
    assert_is(small_cifar, cifar10(tmp_path))


def test_the_size_of_a_real_binary_batch_is_30_730_000_bytes(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    for name in names:
        with (folder / f"{name}.bin").open("wb") as file:
            file.truncate(30_729_999)  # a hole: takes no space
    assert message_of(ValueError, cifar10, tmp_path) == (
        f"{folder / 'data_batch_1.bin'}: 30,729,999 bytes, expected 30,730,000, "
        "10,000 records of 3,073"
    )
    os.truncate(folder / "data_batch_1.bin", 40_000_000_000)
    assert message_of(ValueError, cifar10, tmp_path) == (
        f"{folder / 'data_batch_1.bin'}: 40,000,000,000 bytes, expected no more than "
        "30,730,000"
    )


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_a_wrong_label_is_named_with_its_record(layout, small_cifar, tmp_path):
    small_cifar.labels[2, [7, 11]] = 10, 255
    folder = getattr(small_cifar, f"write_{layout}")(tmp_path)
    name = "data_batch_3.bin" if layout == "binary" else "data_batch_3"
    assert message_of(ValueError, cifar10, tmp_path) == (
        f"{folder / name}: record 7 has label 10, expected 0..9 "
        "(2 of 20 records are wrong)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\n", "2 class names, expected 10"),
        ("", "0 class names, expected 10"),
        (
            "airplane automobile bird dog deer cat frog horse ship truck",
            "class 3 is 'dog', expected 'cat'",
        ),
        ("x" * 70_000, "70,000 bytes, expected no more than 65,536"),
    ],
)
def test_other_class_names_are_refused(text, message, small_cifar, tmp_path):
    path = small_cifar.write_binary(tmp_path) / "batches.meta.txt"
    path.write_text(text.replace(" ", "\n"))
    assert message_of(ValueError, cifar10, tmp_path) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, "no class names, expected 10"),
        ({"label_names": ["cat"]}, "1 class names, expected 10"),
        ({"label_names": list("abcdefghij")}, "class 0 is 'a', expected 'airplane'"),
        ([], "expected a dict, got a list"),
    ],
)
def test_other_pickled_class_names_are_refused(
    meta, message, small_cifar, py2_pickle, tmp_path
):
    path = small_cifar.write_python(tmp_path) / "batches.meta"
    path.write_bytes(py2_pickle(meta))
    assert message_of(ValueError, cifar10, tmp_path) == f"{path}: {message}"


def python_batch(**changes):
    batch = {"data": np.zeros((RECORDS, 3072), np.uint8), "labels": [0] * RECORDS}
    batch.update(changes)
    return {key: value for key, value in batch.items() if value is not None}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "expected a dict, got a list"),
        (python_batch(data=None), "expected data to be an array of uint8"),
        (python_batch(data="x" * 3072), "expected data to be an array of uint8"),
        (
            python_batch(data=np.zeros((RECORDS, 3072), np.int8)),
            "expected data to be an array of uint8",
        ),
        (
            python_batch(data=np.zeros((RECORDS, 3071), np.uint8)),
            "data has shape (20, 3071), expected (20, 3072)",
        ),
        (
            python_batch(data=np.zeros((RECORDS, 3, 32, 32), np.uint8)),
            "data has shape (20, 3, 32, 32), expected (20, 3072)",
        ),
        (python_batch(labels=None), "expected labels to be a list of integers"),
        (
            python_batch(labels=[0.5] * RECORDS),
            "expected labels to be a list of integers",
        ),
        (python_batch(labels=[0] * 19), "19 labels, expected 20"),
        (
            python_batch(labels=[0] * 19 + [-5]),
            "record 19 has label -1, expected 0..9 (1 of 20 records are wrong)",
        ),
        (
            python_batch(labels=[10**30] + [0] * 19),
            "record 0 has label 255, expected 0..9 (1 of 20 records are wrong)",
        ),
    ],
)
def test_a_pickled_batch_of_another_form_is_refused(
    batch, message, small_cifar, py2_pickle, tmp_path
):
    path = small_cifar.write_python(tmp_path) / "data_batch_1"
    path.write_bytes(py2_pickle(batch))
    assert message_of(ValueError, cifar10, tmp_path) == f"{path}: {message}"


def test_a_pickle_that_would_run_something_is_refused_by_name(small_cifar, tmp_path):
    path = small_cifar.write_python(tmp_path) / "data_batch_2"
    witness = tmp_path / "witness"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(witness).encode() + b"'\ntR.")
    text = message_of(ValueError, cifar10, tmp_path)
    assert text.startswith(f"{path}: refused: the file asks for 'os.system', as")
    assert not witness.exists()


# Archives that do what a data set has no reason to do.


def archive_of(path, *members):
    """Write a .tar.gz of (name, content or TarInfo type or size) pairs."""
    with tarfile.open(path, "w:gz") as tar:
        for name, what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes) and len(what) == 1:
                info.type, info.linkname = what, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(what)
                tar.addfile(info, io.BytesIO(what))
    return path


BATCH = "cifar-10-batches-bin/data_batch_1.bin"


@pytest.mark.parametrize(
    ("name", "what", "message"),
    [
        ("/etc/npresnet", b"some", "member '/etc/npresnet' leads out of the archive"),
        ("../outside", b"some", "member '../outside' leads out of the archive"),
        ("a/../../b", b"some", "member 'a/../../b' leads out of the archive"),
        ("a\\..\\..\\b", b"some", r"member 'a\..\..\b' leads out of the archive"),
        ("C:\\b", b"some", r"member 'C:\b' leads out of the archive"),
        (BATCH, tarfile.SYMTYPE, f"member '{BATCH}' is a link"),
        (BATCH, tarfile.LNKTYPE, f"member '{BATCH}' is a link"),
        (BATCH, tarfile.CHRTYPE, f"member '{BATCH}' is a device or special file"),
        (BATCH, tarfile.FIFOTYPE, f"member '{BATCH}' is a device or special file"),
        (
            "readme.html",
            bytes(1024 * 1024 + 1),
            "member 'readme.html' has 1,048,577 bytes, expected no more than 1,048,576",
        ),
        (
            BATCH,
            bytes(30_730_001),
            f"member '{BATCH}' has 30,730,001 bytes, expected no more than 30,730,000",
        ),
    ],
)
def test_an_archive_with_a_member_out_of_place_is_refused(
    name, what, message, tmp_path
):
    archive = archive_of(tmp_path / "cifar-10-binary.tar.gz", (name, what))
    text = message_of(ValueError, cifar10, tmp_path)
    assert text == f"{archive}: refused: {message}"
    assert list(tmp_path.iterdir()) == [archive]


def test_an_archive_with_a_file_twice_is_refused(tmp_path):
    archive = archive_of(tmp_path / "a.tar.gz", (BATCH, b"one"), ("./" + BATCH, b"two"))
    text = message_of(ValueError, cifar10, archive)
    assert text == f"{archive}: refused: member '{BATCH}' is there twice"


def test_an_archive_with_too_many_members_is_refused(tmp_path):
    archive = archive_of(tmp_path / "a.tar.gz", *((f"f{i}", b"") for i in range(65)))
    text = message_of(ValueError, cifar10, archive)
    assert text == f"{archive}: refused: has more than 64 members"


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    module = importlib.import_module("npresnet.data._archive")
    monkeypatch.setattr(module, "_TOTAL_LIMIT", 200_000)
    archive = archive_of(tmp_path / "a.tar.gz", ("readme.html", bytes(300_000)))
    text = message_of(ValueError, cifar10, archive)
    assert text == f"{archive}: refused: unpacks to more than 200,000 bytes"


def test_an_archive_of_something_else_is_refused(tmp_path):
    archive = archive_of(tmp_path / "a.tar.gz", ("cats/1.png", b"meow"))
    assert message_of(ValueError, cifar10, archive) == (
        f"{archive}: not a CIFAR-10 archive, it has neither cifar-10-batches-bin nor "
        "cifar-10-batches-py"
    )


def test_an_archive_that_lacks_files_names_them(small_cifar, make_archive, tmp_path):
    folder = small_cifar.write_binary(tmp_path)
    (folder / "data_batch_5.bin").unlink()
    archive = make_archive(folder, tmp_path / "a.tar.gz")
    assert message_of(FileNotFoundError, cifar10, archive) == (
        f"{archive}: missing data_batch_5.bin in cifar-10-batches-bin"
    )


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "flipped", "not tar"])
def test_a_damaged_archive_is_refused(damage, small_cifar, make_archive, tmp_path):
    folder = small_cifar.write_binary(tmp_path / "whole")
    where = tmp_path / "data"
    where.mkdir()
    archive = make_archive(folder, where / "cifar-10-binary.tar.gz")
    whole = archive.read_bytes()
    middle = len(whole) // 2
    archive.write_bytes(
        {
            "text": b"<html>not found</html>",
            "empty": b"",
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes(1000) + whole[middle + 1000 :],
            "not tar": gzip.compress(b"hello " * 1000),
        }[damage]
    )
    text = message_of(ValueError, cifar10, where)
    assert text.startswith(f"{archive}: damaged or not a .tar.gz, .tar or .zip (")


# The real thing.


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("NPRESNET_DATA_DIR")
    if not folder:
        pytest.skip("NPRESNET_DATA_DIR names no folder with CIFAR-10")
    return cifar10(folder)


def test_real_cifar10_has_5000_and_1000_images_per_class(real):
    train, test = real
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(train.labels).tolist() == [5_000] * 10
    assert np.bincount(test.labels).tolist() == [1_000] * 10


def test_statistics_are_those_of_the_real_training_images(real):
    train, test = real
    sums, squares = np.zeros(3), np.zeros(3)
    for start in range(0, 50_000, 5_000):  # 5,000 images at a time, to save memory
        part = train.images[start : start + 5_000] / 255.0
        sums += part.sum(axis=(0, 2, 3))
        squares += (part**2).sum(axis=(0, 2, 3))
    mean = sums / (50_000 * 1024)
    std = np.sqrt(squares / (50_000 * 1024) - mean**2)
    np.testing.assert_allclose(train.mean, mean, atol=6e-6)
    np.testing.assert_allclose(train.std, std, atol=6e-6)
    np.testing.assert_array_equal(test.mean, train.mean)


def test_the_deviation_is_that_of_all_pixels_together(small_cifar, tmp_path):
    # Not 0.2023, 0.1994, 0.2010: those are averages over images, each with its own.
    small_cifar.write_binary(tmp_path)
    for part in cifar10(tmp_path):
        np.testing.assert_allclose(part.mean, [0.4914, 0.4822, 0.4465], atol=5e-5)
        np.testing.assert_allclose(part.std, [0.2470, 0.2435, 0.2616], atol=5e-5)


def test_the_first_real_image_is_the_frog(real):
    train, _ = real
    assert train.classes[train.labels[0]] == "frog"
    # The corner's red, green and blue: shows the order of channels and rows.
    assert train.images[0, :, 0, 0].tolist() == [59, 62, 63]
    assert train.images[0, 0, 0, :3].tolist() == [59, 43, 50]
