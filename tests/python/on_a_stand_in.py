"""Calls of compiled functions on the stand-in for NVIDIA's driver, in a process of their own.

    python on_a_stand_in.py LIBCUDA

Tensors lie on the CPU, whose memory the stand-in's kernels can reach; what the engine hears of
them is that they lie on a GPU, and so are its results.
"""

import ctypes
import sys
from dataclasses import replace

import torch
from torch.fx.experimental.proxy_tensor import make_fx

import ostinato
from ostinato import _engine, backend, importer

CUDA, CPU = 2, 1  # as DLPack counts devices


class _Table(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint64),
        ("previous", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("managed", ctypes.c_void_p),
        ("to_object", ctypes.c_void_p),
        ("view", ctypes.c_void_p),
        ("stream", ctypes.c_void_p),
    ]


class _Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("type", ctypes.c_int32), ("index", ctypes.c_int32)]


_VIEW = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(_Tensor))
_ALLOCATE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Tensor), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)
_STREAM = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p)
)
_held = []  # what the engine keeps addresses of


def lie_about_devices():
    """Gives the engine PyTorch's table of functions with another device in it."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype = ctypes.py_object
    capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = b"dlpack_exchange_api"
    real = pointer_of(torch.Tensor.__dlpack_c_exchange_api__, name)
    table = _Table.from_buffer_copy(_Table.from_address(real))
    real_view, real_allocate = _VIEW(table.view), _ALLOCATE(table.allocate)

    def view(tensor, out):
        failed = real_view(tensor, out)
        if tensor.dtype != torch.float64:  # numbers stay on the CPU
            out[0].type = CUDA
        return failed

    def allocate(prototype, out, context, on_error):
        assert prototype[0].type == CUDA, "a result is not on the GPU"
        prototype[0].type = CPU
        return real_allocate(prototype, out, context, on_error)

    def stream(kind, index, out):
        assert (kind, index) == (CUDA, 0)
        out[0] = None  # the default stream
        return 0

    functions = _VIEW(view), _ALLOCATE(allocate), _STREAM(stream)
    addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
    table.view, table.allocate, table.stream = addresses
    _held.extend([table, *functions, capsule])
    kind = type("", (), {})
    kind.__dlpack_c_exchange_api__ = capsule(ctypes.addressof(table), name, None)
    _engine.use_tensors_of(kind, torch.autograd.graph.increment_version)


def compile_for_gpus():
    """Makes the backend believe that tensors on the CPU lie on a GPU."""

    class Importer(importer.Importer):
        def __init__(self, gm, static, options):
            super().__init__(gm, static, options)
            self.device = "cpu"

    backend.placed = lambda options, _: replace(options, device="cuda:0")
    backend.Importer = Importer


def copy_of(arguments):
    """With the same strides."""
    return [
        torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).copy_(x)
        if isinstance(x, torch.Tensor)
        else x
        for x in arguments
    ]


def check(driver, function, *calls, dynamic=False, waits=False, **options):
    """Results, and what is written to arguments, are PyTorch's; replays neither wait nor copy."""
    torch._dynamo.reset()
    compiled = torch.compile(
        function, backend=backend.ostinato, dynamic=dynamic, fullgraph=True, options=options
    )
    for call in [calls[0], *calls]:
        ours, theirs = copy_of(call), copy_of(call)
        before = driver.stand_in_waits(), driver.stand_in_copies()
        got = compiled(*ours)
        after = driver.stand_in_waits(), driver.stand_in_copies()
        torch.testing.assert_close(got, function(*theirs))
        torch.testing.assert_close(ours, theirs)
    assert waits or before == after, (before, after)


def add(x, y):
    """Two calls that become one."""
    return torch.relu(x + y) * 2


def write(x, y):
    """To an argument, which is a result's operand too."""
    x.add_(y)
    return x * 2


def check_arguments(driver):
    """Of every layout, written to or not."""
    x, y = torch.randn(4, 8), torch.randn(4, 8)
    wide, tall = torch.randn(4, 16)[:, ::2], torch.randn(8, 4).t()
    check(driver, add, (x, y))
    check(driver, add, (x, y), (torch.randn(6, 8), torch.randn(6, 8)), (x, y), dynamic=True)
    check(driver, add, (x, y), force_eager=True, waits=True)
    check(driver, add, (wide, tall))
    for first in (x, wide, tall):
        check(driver, write, (first, y))
        check(driver, write, (first, y), input_inplace_pass=False)
    check(driver, add, (x, y), (y, x), zero_copy=True)
    check(driver, lambda x, s: x * s + 1, (x, 2.5), (x, 3.5), (x, 4.5), dynamic=True)
    check(driver, lambda x: ((x + 1).t(), x.view(8, 4)), (x,))


def check_overlap():
    """A written argument whose memory another one shares: that is to be read as it was."""

    def function(x, y):
        total = x + y
        x.copy_(total)
        return (total.flip(0),)

    compiled = ostinato.compile_fx(make_fx(function)(torch.randn(16), torch.randn(16)))
    for _ in range(2):
        ours = torch.randn(41)
        theirs = ours.clone()
        wanted = function(theirs[1:17], theirs[9:25].clone())
        torch.testing.assert_close(compiled(ours[1:17], ours[9:25]), list(wanted))
        torch.testing.assert_close(ours, theirs)


class Embedded(torch.nn.Module):
    """A large weight, a small one, and a buffer with gaps that a pass folds."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(10, 300)
        self.scale = torch.nn.Parameter(torch.randn(300))
        self.register_buffer("gaps", torch.randn(300, 2)[:, 0])

    def forward(self, ids):
        """Rows for ids."""
        return torch.sin(self.table(ids) * self.scale) + torch.exp(self.gaps)


def check_weights(driver):
    """They are read once where a pass needs them, and again when they changed; faults are late."""
    torch._dynamo.reset()
    model = Embedded().eval()
    compiled = torch.compile(model, backend=backend.ostinato, fullgraph=True, dynamic=False)
    ids = torch.tensor([1, 2, 3])
    for changed in (True, False, True):
        before = driver.stand_in_copies()
        torch.testing.assert_close(compiled(ids), model(ids))
        # The buffer to the host, and what was made of it back.
        assert driver.stand_in_copies() - before == (2 if changed else 0)
        if not changed:
            model.scale.mul_(2)
    compiled(torch.tensor([1, 2, 30]))
    try:
        compiled(ids)
    except ostinato.Error as error:
        assert error.stage == "run/aten.embedding", error
    else:
        raise AssertionError("the index out of range was not reported")
    torch.testing.assert_close(compiled(ids), model(ids))


if __name__ == "__main__":
    stand_in = ctypes.CDLL(sys.argv[1])  # found by its name from now on
    lie_about_devices()
    compile_for_gpus()
    with torch.no_grad():
        check_arguments(stand_in)
        check_overlap()
        check_weights(stand_in)
    assert not ostinato.records(), ostinato.records()
