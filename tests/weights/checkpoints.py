"""Checkpoints of the shapes that people save, written by PyTorch.

Every row is a function that takes torch and returns what is saved, as its docstring
says. `ROWS` has them in order; `docs/checkpoints.md` is the table of what becomes of
each, and a test writes the table anew and compares.
"""

import argparse
import collections
import copy
import enum
import pathlib
import warnings

import numpy as np

ROWS = {}


def row(group, **options):
    """Register a row; `options` are torch.save's, and ``change``, done to the file."""

    def register(maker):
        ROWS[maker.__name__] = group, maker, options
        return maker

    return register


class Net:
    """A class of somebody's script, which no other program has."""

    def __init__(self):
        self.layers, self.name = [3, 4, 6, 3], "mine"


class Phase(enum.Enum):
    TRAIN = 1


Point = collections.namedtuple("Point", "epoch loss")


def network(torch):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    )


def trained(torch, optimizer, scheduler=None):
    """Return a network, its optimiser and its schedule after two steps."""
    net = network(torch)
    opt = optimizer(net.parameters())
    sched = scheduler(opt) if scheduler else None
    for _ in range(2):
        net(torch.randn(2, 3, 3, 3)).sum().backward()
        opt.step()
        if isinstance(sched, torch.optim.lr_scheduler.ReduceLROnPlateau):
            sched.step(1.5)
        elif sched:
            sched.step()
    return net, opt, sched


def checkpoint(torch, scheduler):
    net, opt, sched = trained(
        torch, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), scheduler
    )
    return {
        "state_dict": net.state_dict(),
        "optimizer": opt.state_dict(),
        "scheduler": sched.state_dict(),
        "epoch": 2,
        "best_prec1": 91.25,
    }


def beside(torch, **others):
    return {"state_dict": network(torch).state_dict(), **others}


# --- state dicts --------------------------------------------------------------------

STATES = "State dicts"


@row(STATES)
def state_dict(torch):
    """`model.state_dict()`, an OrderedDict with `_metadata`"""
    return network(torch).state_dict()


@row(STATES, _use_new_zipfile_serialization=False)
def state_dict_legacy(torch):
    """the same in the format before PyTorch 1.6"""
    return network(torch).state_dict()


@row(STATES, pickle_protocol=3)
def state_dict_protocol_3(torch):
    """the same, `pickle_protocol=3`"""
    return network(torch).state_dict()


@row(STATES, pickle_protocol=4)
def state_dict_protocol_4(torch):
    """the same, `pickle_protocol=4`"""
    return network(torch).state_dict()


@row(STATES, pickle_protocol=5)
def state_dict_protocol_5(torch):
    """the same, `pickle_protocol=5`"""
    return network(torch).state_dict()


@row(STATES)
def plain_dict(torch):
    """`{name: tensor}`, a dict"""
    return dict(network(torch).state_dict())


@row(STATES)
def parameters_themselves(torch):
    """`dict(model.named_parameters())`: Parameters rather than tensors"""
    return dict(network(torch).named_parameters())


@row(STATES)
def parameter_with_attributes(torch):
    """a Parameter and a tensor that carry attributes of their own"""
    net = network(torch)
    net[4].weight.note = "pruned"
    tensor = torch.ones(2)
    tensor.note = "mine"
    return {"4.weight": net[4].weight, "mask": tensor}


@row(STATES)
def data_parallel(torch):
    """DataParallel: every name begins with `module.`"""
    return torch.nn.DataParallel(network(torch)).state_dict()


@row(STATES)
def compiled(torch):
    """`torch.compile`: every name begins with `_orig_mod.`"""
    state = network(torch).state_dict()
    return type(state)((f"_orig_mod.{name}", value) for name, value in state.items())


@row(STATES)
def averaged(torch):
    """AveragedModel (SWA, EMA): `module.` and `n_averaged`"""
    averaged = torch.optim.swa_utils.AveragedModel(network(torch))
    averaged.update_parameters(network(torch))
    return averaged.state_dict()


@row(STATES)
def model_and_ema(torch):
    """`{"model": ..., "model_ema": ..., "args": None}`, as torchvision saves"""
    state = network(torch).state_dict()
    return {"model": state, "model_ema": copy.deepcopy(state), "args": None}


@row(STATES)
def state_and_epoch(torch):
    """a tuple `(state_dict, epoch)`"""
    return network(torch).state_dict(), 17


@row(STATES)
def nested_deeply(torch):
    """dicts in lists in dicts"""
    state = network(torch).state_dict()
    return {"folds": [{"nets": {"student": state}}, {"nets": {"student": state}}]}


@row(STATES)
def arrays(torch):
    """`{name: tensor.numpy()}`: arrays of NumPy, in a file of PyTorch"""
    return {name: t.numpy() for name, t in network(torch).state_dict().items()}


# --- tensors ------------------------------------------------------------------------

TENSORS = "Tensors"


@row(TENSORS)
def half_and_bfloat16(torch):
    """half and bfloat16 (which becomes float32)"""
    x = torch.randn(3, 4)
    return {"half": x.half(), "bfloat16": x.bfloat16()}


@row(TENSORS)
def unsigned(torch):
    """uint16, uint32 and uint64"""
    kinds = (torch.uint16, torch.uint32, torch.uint64)
    return {
        str(kind): torch.tensor([[1, 2], [3, 40_000]], dtype=kind) for kind in kinds
    }


@row(TENSORS)
def complex_tensors(torch):
    """complex64 and complex128, also conjugated and negated views"""
    z = torch.randn(2, 3, dtype=torch.complex64)
    negated = torch.randn(2, 3, dtype=torch.complex64).conj().imag
    return {"z": z, "conj": z.conj(), "neg": negated, "w": z.to(torch.complex128)}


@row(TENSORS)
def expanded(torch):
    """made by `expand`: one value stands for many"""
    return {"scale": torch.ones(1).expand(64), "grid": torch.arange(3.0).expand(4, 3)}


@row(TENSORS)
def views(torch):
    """transposed, sliced, and with a step"""
    x = torch.randn(4, 6)
    return {"t": x.T, "slice": x[1:3, 2:], "step": x[::2, ::3], "row": x[1]}


@row(TENSORS)
def odd_strides(torch):
    """a stride of 2**62 along an axis of one element, as `unsqueeze` may leave it"""
    x = torch.arange(6.0)
    return {"x": torch.as_strided(x, (1, 6), (1 << 62, 1))}


@row(TENSORS)
def shared(torch):
    """two names for one tensor, and a view of it"""
    x = torch.randn(4, 4)
    return {"encoder": x, "decoder": x, "head": x[:2]}


@row(TENSORS)
def on_the_graph(torch):
    """views that require a gradient"""
    x = torch.randn(4, 4, requires_grad=True)
    return {"leaf": x, "view": x.detach()[1:].requires_grad_()}


@row(TENSORS)
def on_a_gpu(torch):
    """saved on a GPU: the file says `cuda:0` of every tensor"""
    return network(torch).state_dict()


@row(TENSORS)
def empty(torch):
    """tensors without elements, and of no dimension"""
    return {"none": torch.empty(0, 3), "scalar": torch.tensor(3)}


@row(TENSORS)
def sparse(torch):
    """a sparse tensor beside the weights"""
    return beside(torch, adjacency=torch.eye(3).to_sparse())


@row(TENSORS)
def quantised(torch):
    """a quantised tensor beside the weights"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantisation moves to another package
        q = torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)
    return beside(torch, q=q)


@row(TENSORS)
def float8(torch):
    """float8 tensors beside the weights"""
    return beside(torch, scale=torch.ones(3).to(torch.float8_e4m3fn))


@row(TENSORS)
def without_values(torch):
    """tensors of the device `meta` beside the weights"""
    return beside(torch, shape=torch.empty(3, device="meta"))


@row(TENSORS)
def quantised_weights(torch):
    """weights that are float8 themselves"""
    state = network(torch).state_dict()
    return {name: value.to(torch.float8_e5m2) for name, value in state.items()}


# --- training state -----------------------------------------------------------------

TRAINING = "The state of a training"


@row(TRAINING)
def adamw(torch):
    """AdamW's state, with keys that are numbers"""
    net, opt, _ = trained(torch, torch.optim.AdamW)
    return {"model_state_dict": net.state_dict(), "optimizer": opt.state_dict()}


@row(TRAINING)
def multi_step(torch):
    """MultiStepLR: a `collections.Counter`"""
    lr = torch.optim.lr_scheduler
    return checkpoint(torch, lambda opt: lr.MultiStepLR(opt, [1, 3], 0.1))


@row(TRAINING)
def one_cycle(torch):
    """OneCycleLR"""
    lr = torch.optim.lr_scheduler
    return checkpoint(torch, lambda opt: lr.OneCycleLR(opt, 0.1, total_steps=10))


@row(TRAINING)
def plateau(torch):
    """ReduceLROnPlateau"""
    lr = torch.optim.lr_scheduler
    return checkpoint(torch, lr.ReduceLROnPlateau)


@row(TRAINING)
def cosine(torch):
    """CosineAnnealingLR and a warm-up, in SequentialLR"""
    lr = torch.optim.lr_scheduler

    def sequential(opt):
        parts = [lr.LinearLR(opt), lr.CosineAnnealingLR(opt, 10)]
        return lr.SequentialLR(opt, parts, [2])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about its own order
        return checkpoint(torch, sequential)


@row(TRAINING)
def whole_scheduler(torch):
    """a OneCycleLR itself, and with it a bound method and the optimiser"""
    net, _, sched = trained(
        torch,
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=10),
    )
    # older PyTorch kept such a method in the schedule's state
    state = {**sched.state_dict(), "anneal_func": sched._annealing_cos}
    return {"state_dict": net.state_dict(), "scheduler": state}


@row(TRAINING)
def scaler(torch):
    """GradScaler's state, and the states of all random generators"""
    return beside(
        torch,
        scaler={"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
        rng=[torch.get_rng_state(), np.random.RandomState(0).get_state()],
    )


@row(TRAINING)
def device_and_dtype(torch):
    """`torch.device`, `torch.dtype`, `torch.Size`"""
    return beside(
        torch,
        device=torch.device("cuda:0"),
        dtype=torch.float32,
        size=torch.Size([3, 32, 32]),
    )


@row(TRAINING)
def sets_and_odd_keys(torch):
    """sets, complex numbers, and keys that are float, tuple, None or bool"""
    return beside(
        torch,
        seen={1, 2, "three"},
        z=1 + 2j,
        by_lr={0.1: 3, (1, "a"): 4, None: 5, True: 6},
        big=1 << 100,
        raw=bytearray(b"ab"),
    )


# --- what scripts keep --------------------------------------------------------------

SCRIPTS = "What scripts keep beside the weights"


@row(SCRIPTS)
def numpy_scalars(torch):
    """`np.float64` and other scalars of NumPy"""
    return beside(torch, best=np.float64(0.9134), epoch=np.int64(7), ok=np.bool_(True))


@row(SCRIPTS)
def numpy_arrays(torch):
    """arrays of NumPy, also of another byte order"""
    return beside(torch, mean=np.array([0.49, 0.48]), big=np.arange(3, dtype=">i4"))


@row(SCRIPTS)
def numpy_objects(torch):
    """arrays of objects, of texts and of dates"""
    return beside(
        torch,
        objects=np.array([{"a": 1}, None], dtype=object),
        names=np.array(["cat", "dog"]),
        day=np.array(["2020-01-01"], dtype="M8[D]"),
    )


@row(SCRIPTS)
def namespace(torch):
    """`argparse.Namespace`, the script's options"""
    return beside(torch, args=argparse.Namespace(lr=0.1, arch="resnet20"))


@row(SCRIPTS)
def path(torch):
    """`pathlib.Path`"""
    return beside(torch, folder=pathlib.PurePosixPath("runs/first"))


@row(SCRIPTS)
def classes_of_a_script(torch):
    """objects, enums and named tuples of a script's own classes"""
    return beside(torch, net=Net(), phase=Phase.TRAIN, best=Point(7, 0.3), kind=Net)


@row(SCRIPTS)
def default_dict(torch):
    """`collections.defaultdict` (a dict here) and `deque`"""
    history = collections.defaultdict(list, loss=[2.3, 1.9])
    return beside(torch, history=history, last=collections.deque([1, 2]))


# --- whole modules, and other files -------------------------------------------------

WHOLE = "Whole modules and programs"


@row(WHOLE)
def whole_module(torch):
    """`torch.save(model)`, the model itself"""
    return network(torch)


@row(WHOLE, _use_new_zipfile_serialization=False)
def whole_module_legacy(torch):
    """the same in the format before PyTorch 1.6"""
    return network(torch)


@row(WHOLE)
def module_in_a_dict(torch):
    """`{"net": model, "acc": 91.0, "epoch": 7}`"""
    return {"net": network(torch), "acc": 91.0, "epoch": 7}


@row(WHOLE)
def whole_optimizer(torch):
    """an optimiser itself beside the weights, with tensors as keys"""
    net, opt, _ = trained(torch, torch.optim.Adam)
    return {"state_dict": net.state_dict(), "optimizer": opt}


def value_of(torch, name):
    """Return what a row saves: the same each time."""
    torch.manual_seed(0)
    return ROWS[name][1](torch)


def save(torch, name, path):
    """Write the file of a row."""
    options = ROWS[name][2]
    value = value_of(torch, name)
    if name == "on_a_gpu":
        _save_as_from_a_gpu(torch, value, path)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sources that cannot be found
        torch.save(value, path, **options)


def _save_as_from_a_gpu(torch, value, path):
    """Write ``cuda:0`` where PyTorch on a machine without one writes ``cpu``."""
    from torch import serialization

    before = serialization.location_tag
    serialization.location_tag = lambda storage: "cuda:0"
    try:
        torch.save(value, path)
    finally:
        serialization.location_tag = before
