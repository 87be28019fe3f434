"""Tensors whose sizes, strides, offsets or storages lie."""

from ..craft import (
    call,
    number,
    numbers,
    sequence,
    storage,
    tensor,
    text,
)
from . import both

both(
    "stride_zero",
    "more than [0-9]+ bytes of memory",
    tensor(size=numbers(10**12), stride=numbers(0)),
)
both("size_outside", "outside its storage of 6", tensor(size=numbers(2, 4)))
both("stride_outside", "outside its storage", tensor(stride=numbers(6, 1)))
both("offset_outside", "outside its storage", tensor(offset=number(1)))
both("offset_of_128_bits", "outside its storage", tensor(offset=number(1 << 127)))
both("negative_offset", "offset -1", tensor(offset=number(-1)))
both("negative_size", "size \\(-2, -3\\)", tensor(size=numbers(-2, -3)))
both("negative_stride", "stride \\(-3, 1\\)", tensor(stride=numbers(-3, 1)))
both(
    "size_that_overflows", "outside its storage", tensor(size=numbers(1 << 33, 1 << 33))
)
both("size_and_stride_differ", "a tensor with", tensor(stride=numbers(1)))
both(
    "size_of_65_axes",
    "a tensor with",
    tensor(size=numbers(*[1] * 65), stride=numbers(*[1] * 65)),
)
both(
    "empty_but_uncountable",
    "a tensor of size",
    tensor(size=numbers(0, 1 << 62, 1 << 62), stride=numbers(1, 1, 1)),
)
both("size_of_booleans", "a tensor with", tensor(size=sequence(b"\x88", b"\x88")))
both("size_that_is_a_list", "a tensor with", tensor(size=b"](K\x02K\x03e"))
both("tensor_without_storage", "without a storage", tensor(stored=b"N"))
both("tensor_of_a_tensor", "without a storage", tensor(stored=tensor()))
both("storage_of_a_tebibyte", "would take", tensor(storage(1 << 40)))
both("storage_of_2_to_the_200", "would take", tensor(storage(1 << 200)))
both("negative_storage", "size of -6", tensor(storage(-6)))
both("storage_of_another_size", "should have|cut off", tensor(storage(7)))
both(
    "storage_named_twice",
    "named twice",
    sequence(tensor(), tensor(storage(kind="IntStorage"))),
)
both("key_that_is_a_path", "not a decimal number", tensor(storage(key="../../x")))
both(
    "quantised",
    "a whole object .tensor over a torch.QInt8",
    tensor(storage(kind="QInt8Storage")),
)
both(
    "persistent_id_that_starts_with_a_tensor",
    "persistent id that is no storage",
    sequence(tensor(), *[b"N"] * 4) + b"Q",
)
both(
    "bytes_encoded_by_a_tensor",
    "latin1",
    call("_codecs", "encode", text("a"), tensor()),
)
both(
    "parameter_of_a_dict",
    "not a tensor",
    call("torch._utils", "_rebuild_parameter", b"}", b"\x88", b"N"),
)
both(
    "many_tensors_over_one_storage",
    "bytes of memory",
    sequence(
        *[tensor(storage(1 << 18), size=numbers(1 << 18), stride=numbers(1))] * 90
    ),
    {"0": bytes(1 << 20)},
)
both(
    "view_outside",
    "reaches outside its 6",
    tensor(storage(view=sequence(text("1"), number(4), number(3)))),
)
both("view_that_is_a_number", "a view", tensor(storage(view=number(1))))
