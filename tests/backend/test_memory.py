"""Memory of large arrays is used again, and never while somebody looks at it."""

import gc
import weakref

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend.kernels import memory

LARGE = (300, 1000)
ALONE = (1100, 1000)  # 4.4 MB as float32


@pytest.fixture(autouse=True)
def own_buffers(monkeypatch):
    monkeypatch.setattr(memory, "_buffers", memory._Buffers())


def address(array):
    return array.ctypes.data


@pytest.mark.parametrize("shape", [LARGE, ALONE])
def test_memory_is_used_again_once_nobody_refers_to_it(shape):
    first = memory.empty(shape, np.float32)
    place = address(first)
    assert address(memory.empty(shape, np.float32)) != place
    del first
    gc.collect()
    assert address(memory.empty(shape, np.float32)) == place


@pytest.mark.parametrize("shape", [LARGE, ALONE])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[3:7],
        lambda a: a.T,
        lambda a: a.reshape(-1)[::2],
        lambda a: a.view(np.uint8),
        lambda a: a[None][:, 1],
    ],
)
def test_a_view_keeps_the_memory_of_its_array(view, shape):
    array = memory.empty(shape, np.float32)
    array[:] = 1
    kept = view(array)
    before = kept.copy()
    del array
    others = [memory.empty(shape, np.float32) for _ in range(3)]
    for other in others:
        other[:] = 2
    np.testing.assert_array_equal(kept, before)


def test_arrays_have_their_shape_and_begin_at_a_cache_line(dtype):
    for shape in ((64, 70), LARGE, (1000, 1001)):
        array = memory.empty(shape, dtype)
        assert array.shape == shape and array.dtype == dtype
        assert address(array) % 64 == 0
        assert array.flags.c_contiguous and array.flags.writeable


def test_arrays_that_share_an_arena_do_not_overlap():
    sizes = [1 << 14, (1 << 21) - 3, 12_345, 3 << 20, 70_001, 1 << 22] * 4
    arrays = [memory.empty((size,), np.uint8) for size in sizes]
    for number, array in enumerate(arrays):
        array[:] = number
    for number, array in enumerate(arrays):
        assert (array == number).all()


def test_large_scratch_lies_in_the_smallest_idle_memory_that_suffices():
    sizes = [6 << 20, 8 << 20, 7 << 20, 5 << 20]
    arrays = [memory.empty((size,), np.uint8) for size in sizes]
    places = [address(array) for array in arrays]
    del arrays
    first = memory.scratch(((6 << 20) - 9,), np.uint8)
    second, third = (memory.scratch((3, 1 << 19), np.float32) for _ in range(2))
    assert [address(a) for a in (first, second, third)] == [
        places[0],
        places[2],
        places[1],
    ]
    assert second.shape == (3, 1 << 19) and second.dtype == np.float32
    alone = memory.scratch((6 << 20,), np.uint8)  # nothing suffices
    assert address(alone) not in places
    del second
    assert address(memory.empty((7 << 20,), np.uint8)) == places[2]


def test_scratch_is_never_memory_in_use():
    shape = (5 << 20,)
    held = [memory.empty((6 << 20,), np.uint8), memory.scratch(shape, np.uint8)]
    view = memory.empty((7 << 20,), np.uint8)[5:]
    held += [view, *(memory.scratch(shape, np.uint8) for _ in range(3))]
    for number, array in enumerate(held):
        array[:] = number
    for number, array in enumerate(held):
        assert (array == number).all()


def test_small_scratch_borrows_nothing():
    memory.empty((5 << 20,), np.uint8)
    place = address(memory.scratch((1 << 20,), np.uint8))
    assert address(memory.empty((1 << 20,), np.uint8)) == place


def test_an_arena_is_given_back_with_the_last_of_its_arrays(monkeypatch):
    monkeypatch.setattr(memory, "_PATIENCE", 3)
    monkeypatch.setattr(memory, "_ARENA", 8 << 20)
    sizes = ((3 << 20) + 4096 * i for i in range(99))

    def some(count):
        return [memory.empty((next(sizes),), np.uint8) for _ in range(count)]

    first, second = some(2)
    arena = weakref.ref(memory._buffers._arenas[-1]._whole)
    view = second[5:]
    del first, second
    others = some(8)  # elsewhere: the arena has no room for a third one
    gc.collect()
    assert arena() is not None
    del view
    others += some(8)
    gc.collect()
    assert arena() is None and len(others) == 16


def test_what_is_idle_for_long_is_given_back(monkeypatch):
    monkeypatch.setattr(memory, "_PATIENCE", 3)
    memory.empty(LARGE, np.float32)
    held = [memory.empty((400 + 100 * i, 1000), np.float32) for i in range(6)]
    assert len(held) == 6
    sizes = memory._buffers._buffers
    assert sum(map(len, sizes.values())) == 6  # the first one has gone


@pytest.fixture
def arenas(monkeypatch):
    """List all arenas: what is really taken from the system."""
    made = []

    class Slab(memory._Arena):
        def __init__(self, size, align):
            super().__init__(size, align)
            made.append((weakref.ref(self._whole), weakref.proxy(self)))

    monkeypatch.setattr(memory, "_Arena", Slab)
    return made


def kept_bytes(arenas):
    """Count what lives of all arenas, in use or idle, as far as it was ever used."""
    return sum(arena.used for whole, arena in arenas if whole() is not None)


def layers(images):
    """Hold the outputs of some layers for some images, as a training step does."""
    return [memory.empty((images, 16 << (i % 3), 1000), np.uint8) for i in range(9)]


def test_batches_of_ever_other_sizes_keep_little_more_than_the_largest_alone(
    arenas, rng
):
    layers(128)
    alone = kept_bytes(arenas)
    for images in rng.permutation(128) + 1:
        layers(int(images))
        assert kept_bytes(arenas) <= 1.25 * alone + memory._ARENA
    assert all(memory._buffers._buffers.values())  # nor empty lists of sizes


def test_what_is_kept_is_what_was_used_last(rng):
    layers(100)
    for images in (1, 100, 2, 100, 3, 100):
        layers(images)
    places = {address(array) for array in layers(100)}
    assert {address(array) for array in layers(100)} == places


def test_what_is_in_use_is_never_counted_as_too_much():
    held = []
    for images in range(20, 1, -1):
        arrays = layers(images)
        for number, array in enumerate(arrays):
            array[:] = images + number
        held.append(arrays)
    for images, arrays in zip(range(20, 1, -1), held, strict=True):
        for number, array in enumerate(arrays):
            assert (array == images + number).all()


@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_sees_batches_of_all_sizes_keeps_a_bounded_pool(
    training, arenas, rng, monkeypatch
):
    monkeypatch.setattr(memory, "_ARENA", 1 << 22)  # so that they are many
    model = nr.models.resnet8().train(training)
    criterion = nr.nn.CrossEntropyLoss()

    def step(images):
        x = rng.standard_normal((images, 3, 16, 16)).astype(np.float32)
        criterion(model(x), rng.integers(0, 10, images))
        if training:
            model.backward(criterion.backward(), input_grad=False)
        else:
            model.discard_caches()

    step(24)
    alone = kept_bytes(arenas)
    for images in rng.permutation(24) + 1:
        step(int(images))
        assert kept_bytes(arenas) <= 1.25 * alone + memory._ARENA
