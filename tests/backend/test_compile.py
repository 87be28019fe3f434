"""Where compiled code is kept, and that two processes can write there at once."""

import itertools

from npresnet.backend.kernels.compile import _Files


def test_writers_at_the_same_time_never_mix_their_codes_up(tmp_path):
    """Each of two writers reads the index before the other has written to it; their
    writes then come in every order."""

    class Writer(_Files):
        def __init__(self):
            super().__init__(str(tmp_path), "kernel-1.py", "stamp")
            self.writes = []

        def _load_index(self):
            return {}

        def _save_index(self, index):
            self.writes.append(lambda: _Files._save_index(self, index))

        def _save_data(self, name, data):
            self.writes.append(lambda: _Files._save_data(self, name, data))

    keys = ("float32[:]", "host"), ("float64[:]", "host")
    codes = b"for float32", b"for float64"
    reader = _Files(str(tmp_path), "kernel-1.py", "stamp")
    found = 0
    for order in set(itertools.permutations([0, 0, 1, 1])):
        reader.flush()
        writers = Writer(), Writer()
        for writer, key, code in zip(writers, keys, codes, strict=True):
            writer.save(key, code)
        queues = [iter(writer.writes) for writer in writers]
        for number in order:
            next(queues[number])()
        for key, code in zip(keys, codes, strict=True):
            assert reader.load(key) in (code, None)
            found += reader.load(key) is not None
    assert found >= 6  # in every order, what was entered last
