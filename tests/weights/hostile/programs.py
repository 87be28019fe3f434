"""Files that would run something, and values that are not plain."""

import io

import numpy as np

from ..craft import (
    MAGIC,
    ORDERED_DICT,
    PROTOCOL,
    archive,
    call,
    legacy,
    mapping,
    npy,
    number,
    numbers,
    pickle,
    sequence,
    storage,
    tensor,
    text,
    zip_of,
)
from . import hostile, simple

# --- files that would run something -----------------------------------------------


@hostile("asks for 'os.system'")
def os_system_in_a_zip(command):
    return archive(call("os", "system", text(command)))


@hostile("asks for 'os.system'")
def os_system_in_a_legacy_file(command):
    return legacy(call("os", "system", text(command)))


@hostile("asks for 'posix.system'")
def system_beside_good_tensors(command):
    return archive(mapping(w=tensor(), x=call("posix", "system", text(command))))


@hostile("asks for 'builtins.eval'")
def eval_in_protocol_4(command):
    code = f"__import__('os').system({command!r})"
    name = b"\x8c\x08builtins\x8c\x04eval\x93"
    return archive(name + text(code) + b"\x85R", protocol=4)


@hostile("asks for '__builtin__.exec'")
def exec_of_python_2(command):
    return legacy(
        call("__builtin__", "exec", text(f"import os; os.system({command!r})"))
    )


@hostile("asks for 'subprocess.Popen'")
def popen_as_a_backward_hook(command):
    return archive(tensor(hooks=call("subprocess", "Popen", text(command))))


@hostile("asks for 'os.system'")
def system_in_the_metadata_of_a_state_dict(command):
    state = mapping(_metadata=call("os", "system", text(command)))
    return archive(ORDERED_DICT + b")R" + state + b"b")


@hostile("asks for 'os.system'")
def system_as_a_storage_type(command):
    identity = sequence(
        text("storage"), b"cos\nsystem\n", text(command), text("cpu"), number(6)
    )
    return archive(identity + b"Q")


@hostile("asks for 'os.system'")
def system_in_the_header_of_a_legacy_file(command):
    return legacy(tensor(), system=call("os", "system", text(command)))


@hostile("asks for 'os.system'")
def system_in_the_list_of_storages(command):
    return legacy(tensor(), keys=[text("0"), call("os", "system", text(command))])


@hostile("asks for 'os.system'")
def system_before_the_magic_number(command):
    start = b"\x80\x02cos\nsystem\n0" + MAGIC[2:-1]
    return start + text(command) + b"\x85R." + PROTOCOL


@hostile("opcode INST")
def inst(command):
    return archive(b"(" + text(command) + b"ios\nsystem\n")


@hostile("asks for 'os.system'")
def obj(command):
    return archive(b"(cos\nsystem\n" + text(command) + b"o")


@hostile("opcode OBJ")
def obj_with_a_known_class(command):
    return archive(b"(" + ORDERED_DICT + text(command) + b"o")


@hostile("opcode NEWOBJ")
def newobj(command):
    return archive(ORDERED_DICT + sequence(text(command)) + b"\x81")


@hostile("opcode NEWOBJ_EX")
def newobj_ex(command):
    return archive(ORDERED_DICT + b")}" + b"\x92", protocol=4)


@hostile("opcode EXT1")
def extension_registry(command):
    return archive(b"\x82\x01" + sequence(text(command)) + b"R")


@hostile("opcode PERSID")
def persistent_id_as_text(command):
    return archive(b"P" + command.encode() + b"\n")


@hostile("persistent id that is no storage")
def persistent_id_of_a_module(command):
    fields = text("module"), ORDERED_DICT, text("x.py"), text(f"system({command!r})")
    return archive(sequence(*fields) + b"Q")


@hostile("persistent id that is no storage")
def persistent_id_that_is_no_tuple(command):
    return archive(text(command) + b"Q")


@hostile("persistent id that is no storage")
def persistent_id_in_the_header(command):
    return legacy(tensor(), system=storage())


@hostile("sets the state")
def setstate_on_a_tensor(command):
    return archive(tensor() + mapping(__setstate__=text(command)) + b"b")


@hostile("sets the state of a value of type dict")
def state_on_a_dict(command):
    return archive(b"}" + mapping(__class__=text(command)) + b"b")


@hostile("asks for 'builtins.getattr'")
def getattr_chain(command):
    return archive(call("builtins", "getattr", tensor(), text("__class__")))


@hostile("asks for 'collections.OrderedDict.__init__.__globals__'")
def dotted_name(command):
    name = text("collections") + text("OrderedDict.__init__.__globals__")
    return archive(name + b"\x93", protocol=4)


@hostile("name is not a text")
def global_named_by_a_number(command):
    return archive(number(1) + number(2) + b"\x93", protocol=4)


@hostile("asks for 'torch.storage._load_from_bytes'")
def torch_load_from_bytes(command):
    inner = b"C\x04abcd"
    return archive(call("torch.storage", "_load_from_bytes", inner), protocol=4)


@hostile("asks for 'torch._utils._rebuild_from_type_v2'")
def tensor_subclass(command):
    return archive(call("torch._utils", "_rebuild_from_type_v2", tensor()))


@hostile("asks for 'numpy.core.multiarray._reconstruct'")
def numpy_reconstruct(command):
    return archive(call("numpy.core.multiarray", "_reconstruct", numbers(0)))


@hostile("asks for '__main__.Net'")
def whole_module(command):
    return legacy(b"c__main__\nNet\n)\x81}b")


@hostile("calls")
def call_of_a_text(command):
    return archive(text(command) + b")R")


@hostile("calls")
def call_with_a_dict_of_arguments(command):
    return archive(ORDERED_DICT + b"}R")


@hostile("not made of pairs")
def ordered_dict_of_a_text(command):
    return archive(call("collections", "OrderedDict", text(command)))


@hostile("makes a storage of its own")
def call_of_a_storage_type(command):
    return archive(call("torch", "FloatStorage", number(1 << 40)))


@hostile("contains 'torch.Size' itself")
def global_as_a_value(command):
    return archive(b"](ctorch\nSize\ne")


@hostile("contains a value of type Storage itself")
def storage_as_a_value(command):
    return archive(sequence(storage()))


@hostile("bare pickle")
def bare_pickle(command):
    return pickle(call("os", "system", text(command)))


@hostile("neither")
def bare_pickle_of_protocol_0(command):
    return f"cos\nsystem\n(V{command}\ntR.".encode()


@hostile("Object arrays|object")
def npz_of_objects(command):
    class Runs:
        def __reduce__(self):
            import os

            return os.system, (command,)

    stream = io.BytesIO()
    objects = np.array([Runs()], dtype=object)
    np.savez(stream, a=np.zeros(2), b=objects)
    return stream.getvalue()


@hostile("header of array 'a'")
def npz_with_code_in_a_header(command):
    header = f"__import__('os').system({command!r})\n"
    return zip_of(("a.npy", npy(header)))


# --- plain values that are not plain ----------------------------------------------

simple("set_", "__builtin__.set", archive(call("__builtin__", "set", b"](K\x01e")))
simple("frozenset_opcode", "FROZENSET", archive(b"(K\x01\x91", protocol=4))
simple("bytearray_opcode", "BYTEARRAY8", archive(b"\x96" + b"\1" + b"\0" * 7 + b"a"))
simple("tuple_as_a_key", "key of a dict", archive(b"}" + numbers(1) + b"K\x01s"))
simple("float_as_a_key", "key of a dict", archive(b"}G" + b"\0" * 8 + b"K\x01s"))
simple(
    "pickle_of_protocol_0",
    "not a pickle",
    zip_of(("archive/data.pkl", b"(lp0\n.")),
)
simple("two_values_at_the_end", "end with one value", archive(b"NN"))
simple("empty_stack", "empty stack", archive(b"\x85"))
simple("no_mark", "MARK", archive(b"Nt"))
simple("unknown_memo", "never kept", archive(b"h\x07"))
simple("key_without_a_value", "key without a value", archive(b"}(K\x01u"))
simple("items_for_a_tensor", "cannot hold", archive(tensor() + b"K\x00K\x01s"))
simple("text_that_is_not_utf8", "UTF-8", archive(b"X\x01\0\0\0\xff"))
simple(
    "bytes_above_255",
    "255",
    archive(call("_codecs", "encode", text("\u20ac"), text("latin1"))),
)
simple(
    "bytes_by_another_codec",
    "latin1",
    archive(call("_codecs", "encode", text("a"), text("zip"))),
)
simple("undefined_opcode", "0xff", archive(b"\xff"))
simple("global_without_an_end", "no end", archive(b"c" + b"a" * 5000))
simple("bytes_behind_the_pickle", "behind its pickle", archive(tensor(), behind=b"N."))
