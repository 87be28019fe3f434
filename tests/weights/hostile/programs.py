"""Files that would run something, and values that are not plain."""

import io
import struct

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
from . import hostile, inert, simple

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


@hostile("asks for 'os.system'")
def inst(command):
    return archive(b"(" + text(command) + b"ios\nsystem\n")


@hostile("asks for 'os.system'")
def obj(command):
    return archive(b"(cos\nsystem\n" + text(command) + b"o")


@hostile("asks for 'os.system'")
def newobj(command):
    return archive(b"cos\nsystem\n" + sequence(text(command)) + b"\x81")


@hostile("asks for 'os.system'")
def newobj_ex(command):
    return archive(b"cos\nsystem\n" + sequence(text(command)) + b"}\x92", protocol=4)


@hostile("not made of pairs")
def newobj_of_a_known_class(command):
    return archive(ORDERED_DICT + sequence(text(command)) + b"\x81")


@hostile("opcode EXT1")
def extension_registry(command):
    return archive(b"\x82\x01" + sequence(text(command)) + b"R")


@hostile("opcode PERSID")
def persistent_id_as_text(command):
    return archive(b"P" + command.encode() + b"\n")


@hostile("persistent id that is no storage")
def persistent_id_that_is_no_tuple(command):
    return archive(text(command) + b"Q")


@hostile("a persistent id")
def persistent_id_in_the_header(command):
    return legacy(tensor(), system=storage())


@hostile("sets the state of a value of type dict")
def state_on_a_dict(command):
    return archive(b"}" + mapping(__class__=text(command)) + b"b")


@hostile("name is not a text")
def global_named_by_a_number(command):
    return archive(number(1) + number(2) + b"\x93", protocol=4)


@hostile("calls")
def call_of_a_text(command):
    return archive(text(command) + b")R")


@hostile("calls")
def call_with_a_dict_of_arguments(command):
    return archive(ORDERED_DICT + b"}R")


@hostile("not made of pairs")
def ordered_dict_of_a_text(command):
    return archive(call("collections", "OrderedDict", text(command)))


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


@hostile("a whole object \\(__main__.Net\\)")
def whole_module(command):
    return legacy(b"c__main__\nNet\n)\x81}b")


@hostile("a whole object \\(builtins.getattr\\)")
def getattr_alone(command):
    return archive(call("builtins", "getattr", tensor(), text("__class__")))


@hostile("a whole object \\(torch.FloatStorage\\)")
def call_of_a_storage_type(command):
    return archive(call("torch", "FloatStorage", number(1 << 40)))


# --- what would build or run something, beside good weights, and does not ---------


@inert("builtins.getattr")
def getattr_chain(command):
    return call("builtins", "getattr", tensor(), text("__class__"))


@inert("__main__.Net.forward")
def method_of_a_class(command):
    return call("builtins", "getattr", b"c__main__\nNet\n", text("forward"))


@inert("collections.OrderedDict.__init__.__globals__")
def dotted_name(command):
    name = text("collections") + text("OrderedDict.__init__.__globals__")
    return name + b"\x93"


@inert("functools.partial")
def partial_of_a_module(command):
    return call("functools", "partial", b"cmy_module\nrun\n", text(command))


@inert("my_module.run")
def function_of_a_module(command):
    return call("my_module", "run", text(command))


@inert("__main__.Net")
def class_with_a_state(command):
    return b"c__main__\nNet\n)\x81" + mapping(__setstate__=text(command)) + b"b"


@inert("__main__.Net")
def class_with_keywords(command):
    return b"c__main__\nNet\n" + sequence(text(command)) + b"}\x92"


@inert("__main__.Net")
def class_by_inst(command):
    return b"(" + text(command) + b"i__main__\nNet\n"


@inert("__main__.Net")
def class_by_obj(command):
    return b"(c__main__\nNet\n" + text(command) + b"o"


@inert("__main__.Net")
def class_with_items(command):
    return b"c__main__\nNet\n)R(" + text("a") + text(command) + b"u"


@inert("__main__.Net")
def class_with_its_source(command):
    source = text("module"), b"c__main__\nNet\n", text("x.py"), text(f"run({command})")
    return sequence(*source) + b"Q"


@inert("torch.storage._load_from_bytes")
def torch_load_from_bytes(command):
    inner = pickle(call("os", "system", text(command)))
    return call(
        "torch.storage",
        "_load_from_bytes",
        b"B" + struct.pack("<I", len(inner)) + inner,
    )


@inert("torch._utils._rebuild_from_type_v2")
def tensor_subclass_in_the_wrong_place(command):
    return call("torch._utils", "_rebuild_from_type_v2", tensor())


@inert("__main__.Evil")
def tensor_subclass_built_by_a_function(command):
    arguments = sequence(text(command))
    return call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        b"cmy_module\nrun\n",
        b"c__main__\nEvil\n",
        arguments,
        b"}",
    )


@inert("numpy.ndarray")
def numpy_reconstruct(command):
    return call("numpy.core.multiarray", "_reconstruct", numbers(0))


@inert("numpy.ndarray (not of numbers)")
def numpy_array_of_objects(command):
    empty = call(
        "numpy.core.multiarray",
        "_reconstruct",
        b"cnumpy\nndarray\n",
        numbers(0),
        text("b"),
    )
    objects = call("numpy", "dtype", text("O8"), b"\x89", b"\x88")
    program = call("my_module", "run", text(command))
    return (
        empty
        + sequence(number(1), numbers(1), objects, b"\x89", b"](" + program + b"e")
        + b"b"
    )


@inert("torch.Size")
def global_as_a_value(command):
    return b"ctorch\nSize\n"


@inert("torch.FloatStorage")
def storage_as_a_value(command):
    return storage()


# --- plain values that are not plain ----------------------------------------------

simple("pickle_of_protocol_6", "protocol 6", archive(b"N", protocol=6))
simple("two_values_at_the_end", "end with one value", archive(b"NN"))
simple("empty_stack", "empty stack", archive(b"\x85"))
simple("no_mark", "MARK", archive(b"Nt"))
simple("unknown_memo", "never kept", archive(b"h\x07"))
simple("key_without_a_value", "key without a value", archive(b"}(K\x01u"))
simple(
    "items_for_a_tensor", "sets items of an array", archive(tensor() + b"K\x00K\x01s")
)
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
