"""Cases of the elementwise operators and the casts."""

import torch

from .harness import DTYPES, FLOATS, INTEGERS, NUMBERS, SHAPES, STRIDES, Case, Maker, cases

SPECIAL = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 100.0]
LARGE = torch.tensor([2**62, 2**53 + 1, -(2**53) - 1, 2**24 + 1, 7, -7, 1, 0])
REAL = {  # functions of real numbers, and where they are defined
    "aten.acos": (-0.99, 0.99),
    "aten.acosh": (1.01, 3.0),
    "aten.asin": (-0.99, 0.99),
    "aten.asinh": (-3.0, 3.0),
    "aten.atan": (-3.0, 3.0),
    "aten.atanh": (-0.99, 0.99),
    "aten.cos": (-3.0, 3.0),
    "aten.cosh": (-3.0, 3.0),
    "aten.erf": (-3.0, 3.0),
    "aten.exp": (-3.0, 3.0),
    "aten.expm1": (-3.0, 3.0),
    "aten.log": (0.01, 3.0),
    "aten.log10": (0.01, 3.0),
    "aten.log1p": (0.01, 3.0),
    "aten.log2": (0.01, 3.0),
    "aten.reciprocal": (0.01, 3.0),
    "aten.rsqrt": (0.01, 3.0),
    "aten.sigmoid": (-3.0, 3.0),
    "aten.sin": (-3.0, 3.0),
    "aten.sinh": (-3.0, 3.0),
    "aten.sqrt": (0.01, 3.0),
    "aten.tan": (-3.0, 3.0),
    "aten.tanh": (-3.0, 3.0),
}


def special(dtype) -> torch.Tensor:
    """NaN, the infinities, both zeros, halves."""
    return torch.tensor(SPECIAL).to(dtype)


def unary(make: Maker, dtypes, attributes=None, low=-3.0, high=3.0, specials=True):
    """Every shape in every dtype, contiguous and not."""
    attributes = attributes or {}
    for dtype in dtypes:
        for shape in SHAPES:
            yield Case({"self": make(*shape, dtype=dtype, low=low, high=high)}, attributes)
        for strided in STRIDES:
            yield Case(
                {"self": strided(make(3, 4, 5, dtype=dtype, low=low, high=high))}, attributes
            )
        if dtype.is_floating_point and specials:
            yield Case({"self": special(dtype)}, attributes)


@cases(*REAL)
def real(name, make):
    """Functions of real numbers."""
    low, high = REAL[name]
    yield from unary(make, DTYPES, low=low, high=high)


@cases("aten.abs", "aten.ceil", "aten.floor", "aten.neg", "aten.relu", "aten.round", "aten.trunc")
def number(name, make):
    """Functions that keep integers."""
    yield from unary(make, NUMBERS)
    yield Case({"self": LARGE})


@cases("aten.sign", "aten.logical_not", "aten.isnan", "aten.isinf")
def predicate(name, make):
    """Functions of every dtype."""
    yield from unary(make, DTYPES)
    yield Case({"self": LARGE})


@cases("aten.bitwise_not")
def bits(name, make):
    """Functions of integers and bools."""
    yield from unary(make, [*INTEGERS, torch.bool])


@cases("aten.silu", "aten.mish", "aten.hardsigmoid", "aten.hardswish")
def activation(name, make):
    """Functions of floats alone."""
    yield from unary(make, FLOATS, low=-8, high=8)


@cases("aten.gelu")
def gelu(name, make):
    """Both forms."""
    for approximate in ("none", "tanh"):
        attributes = {"approximate": approximate}
        # PyTorch's vectorised erf makes NaN of infinity, its scalar one does not.
        yield from unary(make, FLOATS, attributes, low=-6, high=6, specials=False)
        for dtype in FLOATS:
            yield Case(
                {"self": torch.tensor([float("nan"), 0.0, -0.0, 100.0]).to(dtype)}, attributes
            )


@cases("aten.hardtanh")
def hardtanh(name, make):
    """Real and integer limits."""
    yield from unary(make, FLOATS, {"min_val": -0.7, "max_val": 1.3})
    yield from unary(make, [torch.int64, torch.int32], {"min_val": -2, "max_val": 1})


@cases("aten.leaky_relu", "aten.elu", "aten.softplus")
def sloped(name, make):
    """Activations with parameters."""
    attributes = {
        "aten.leaky_relu": {"negative_slope": 0.2},
        "aten.elu": {"alpha": 1.5, "scale": 1.1, "input_scale": 0.9},
        "aten.softplus": {"beta": 2, "threshold": 5.5},
    }[name]
    yield from unary(make, FLOATS, attributes, low=-6, high=6)
    yield from unary(make, FLOATS)


@cases("aten.clamp")
def clamp(name, make):
    """Either limit, both, crossed, and of a higher category."""
    for low, high in [(-1, None), (None, 1), (-0.5, 0.75), (2.0, -2.0), (float("nan"), 1.0)]:
        yield from unary(make, FLOATS, {"min": low, "max": high})
    for low, high in [(1, None), (None, 2), (0, 2), (0.5, None), (True, 2)]:
        yield from unary(make, [*INTEGERS, torch.bool], {"min": low, "max": high})
    yield Case({"self": LARGE}, {"min": -(2**53), "max": 2**53 + 1})


def pairs(make: Maker, dtypes, low=-3.0, high=3.0):
    """Two operands of the same dtype: equal shapes, broadcast, strided, empty."""
    for dtype in dtypes:

        def of(*shape, dtype=dtype):
            return make(*shape, dtype=dtype, low=low, high=high)

        for shape in SHAPES:
            yield of(*shape), of(*shape)
        yield of(3, 1, 4), of(5, 1)
        yield of(4), of(2, 3, 4)
        yield of(2, 3), of()
        yield of(0, 3), of(1, 3)
        for strided in STRIDES:
            yield strided(of(3, 4, 5)), of(3, 4, 5)
            yield of(3, 4, 5), strided(of(3, 4, 5))


def mixed(make: Maker, dtypes=DTYPES, low=-3.0, high=3.0):
    """Two operands of different dtypes and ranks: promotion and wrapped numbers."""
    for a in dtypes:
        for b in dtypes:
            if a != b:
                for first, second in [((2, 3), (2, 3)), ((2, 3), ()), ((), ()), ((), (3,))]:
                    yield (
                        make(*first, dtype=a, low=low, high=high),
                        make(*second, dtype=b, low=low, high=high),
                    )


def tensors(operands, attributes=None):
    """Cases of pairs."""
    for self, other in operands:
        yield Case({"self": self, "other": other}, attributes or {})


@cases("aten.add.Tensor", "aten.sub.Tensor")
def add(name, make):
    """With and without alpha."""
    dtypes = DTYPES if name == "aten.add.Tensor" else NUMBERS
    yield from tensors(pairs(make, dtypes))
    yield from tensors(mixed(make, dtypes))
    yield from tensors(pairs(make, FLOATS), {"alpha": 0.25})
    yield from tensors(pairs(make, INTEGERS), {"alpha": 3})
    yield Case({"self": LARGE, "other": LARGE.flip(0)})


@cases("aten.mul.Tensor", "aten.minimum", "aten.maximum")
def multiply(name, make):
    """All dtypes, large integers, specials."""
    yield from tensors(pairs(make, DTYPES))
    yield from tensors(mixed(make))
    yield Case({"self": LARGE, "other": LARGE.flip(0)})
    for dtype in FLOATS:
        yield Case({"self": special(dtype), "other": special(dtype).flip(0)})


@cases("aten.div.Tensor", "aten.atan2")
def divide(name, make):
    """Results are floating."""
    yield from tensors(pairs(make, DTYPES, low=1))
    yield from tensors(mixed(make, low=1))
    for dtype in FLOATS:
        yield Case({"self": special(dtype), "other": special(dtype).flip(0)})


def divisors(make: Maker, dtypes):
    """Pairs whose second is never zero, of either sign."""
    for self, other in pairs(make, dtypes, low=-9, high=9):
        tensor = other if isinstance(other, torch.Tensor) else None
        if tensor is not None:
            yield self, torch.where(tensor == 0, torch.ones_like(tensor), tensor)


@cases("aten.div.Tensor_mode", "aten.fmod.Tensor", "aten.remainder.Tensor")
def divide_mode(name, make):
    """Quotients and remainders of either sign."""
    modes = [{"rounding_mode": mode} for mode in (None, "trunc", "floor")]
    for attributes in modes if name == "aten.div.Tensor_mode" else [{}]:
        yield from tensors(divisors(make, NUMBERS), attributes)
        yield Case({"self": LARGE, "other": torch.tensor(-3)}, attributes)
        yield Case({"self": LARGE, "other": torch.tensor([-1])}, attributes)
        yield Case({"self": special(torch.float32), "other": torch.tensor(0.0)}, attributes)
        yield Case({"self": special(torch.float32), "other": torch.tensor(-0.3)}, attributes)


def scalars(make: Maker, dtypes, others, attributes=None):
    """A tensor and a scalar."""
    for dtype in dtypes:
        for other in others:
            for shape in SHAPES:
                yield Case(
                    {"self": make(*shape, dtype=dtype)}, {"other": other, **(attributes or {})}
                )
            for strided in STRIDES:
                yield Case(
                    {"self": strided(make(3, 4, 5, dtype=dtype))},
                    {"other": other, **(attributes or {})},
                )


@cases("aten.add.Scalar", "aten.sub.Scalar")
def add_scalar(name, make):
    """Scalars of every category."""
    dtypes = DTYPES if name == "aten.add.Scalar" else NUMBERS
    yield from scalars(make, dtypes, [2, 0.3])
    yield from scalars(make, FLOATS, [0.375], {"alpha": 2.5})  # their product is exact
    yield from scalars(make, INTEGERS, [3], {"alpha": 2})


@cases("aten.mul.Scalar", "aten.div.Scalar")
def multiply_scalar(name, make):
    """Scalars of every category."""
    yield from scalars(make, DTYPES, [2, 0.3, True])


@cases("aten.div.Scalar_mode", "aten.fmod.Scalar", "aten.remainder.Scalar")
def divide_scalar_mode(name, make):
    """Quotients and remainders."""
    modes = [{"rounding_mode": mode} for mode in (None, "trunc", "floor")]
    for attributes in modes if name == "aten.div.Scalar_mode" else [{}]:
        yield from scalars(make, NUMBERS, [2, 0.75], attributes)
        yield from scalars(make, [*FLOATS, torch.int64], [-2, -0.75], attributes)


@cases("aten.bitwise_and.Tensor", "aten.bitwise_or.Tensor", "aten.bitwise_xor.Tensor")
def bitwise(name, make):
    """Integers and bools."""
    dtypes = [*INTEGERS, torch.bool]
    yield from tensors(pairs(make, dtypes, low=-99, high=99))
    yield from tensors(mixed(make, dtypes))


@cases("aten.bitwise_and.Scalar", "aten.bitwise_or.Scalar", "aten.bitwise_xor.Scalar")
def bitwise_scalar(name, make):
    """Integers and bools with a scalar."""
    yield from scalars(make, [*INTEGERS, torch.bool], [5, True])


@cases("aten.logical_and", "aten.logical_or", "aten.logical_xor")
def logical(name, make):
    """Every dtype counts as a truth value."""
    yield from tensors(pairs(make, DTYPES, low=-1, high=1))
    yield from tensors(mixed(make))


@cases("aten.pow.Tensor_Scalar")
def power(name, make):
    """Exponents with a formula of their own, and those without."""
    for exponent in [0, 1, 2, 3, 0.5, -0.5, -1.0, 2.5, 0.3]:
        # PyTorch takes square roots for some dtypes only: they differ at -0 and -infinity.
        specials = exponent not in (0.5, -0.5)
        yield from unary(make, FLOATS, {"exponent": exponent}, low=0.1, high=2, specials=specials)
    for exponent in [0, 1, 2, 3]:
        yield from unary(make, INTEGERS, {"exponent": exponent})
    yield from unary(make, [torch.int64], {"exponent": 1.5}, low=0)
    yield Case({"self": LARGE}, {"exponent": 3})


@cases("aten.pow.Scalar")
def power_of_scalar(name, make):
    """A scalar to the power of a tensor."""
    for base in [2, 0.3, 1]:
        for case in unary(make, FLOATS, {"self": base}):
            yield Case({"exponent": case.operands["self"]}, {"self": base})
    for case in unary(make, INTEGERS, low=0, high=5):
        yield Case({"exponent": case.operands["self"]}, {"self": 3})


@cases("aten.pow.Tensor_Tensor")
def power_tensor(name, make):
    """Floats, integers, and both."""
    for self, exponent in [*pairs(make, FLOATS, low=0.1), *mixed(make, NUMBERS, low=1)]:
        yield Case({"self": self, "exponent": exponent})
    for self, exponent in pairs(make, INTEGERS):
        yield Case({"self": self, "exponent": exponent})


COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


@cases(*[f"aten.{name}.Tensor" for name in COMPARISONS])
def compare(name, make):
    """Every pair of dtypes."""
    yield from tensors(pairs(make, [torch.int64, torch.float32, torch.bool], low=-1, high=1))
    yield from tensors(pairs(make, [torch.bfloat16, torch.float16, torch.int32, torch.uint8]))
    yield from tensors(mixed(make, low=-1, high=1))
    yield Case({"self": LARGE, "other": LARGE + 1})
    yield Case({"self": special(torch.float32), "other": special(torch.float32).flip(0)})


@cases(*[f"aten.{name}.Scalar" for name in COMPARISONS])
def compare_scalar(name, make):
    """Scalars of every category; 0.1 is rounded to the tensor's dtype."""
    yield from scalars(make, DTYPES, [1, 0.5, True])
    for dtype in FLOATS:
        yield Case({"self": torch.tensor([0.1, 0.2]).to(dtype)}, {"other": 0.1})
    yield Case({"self": LARGE}, {"other": 2**53 + 1})


@cases("aten.where.self")
def where(name, make):
    """Broadcast in every operand, and promotion."""
    for self, other in [*pairs(make, DTYPES), *mixed(make)]:
        yield Case({"condition": make(1, dtype=torch.bool), "self": self, "other": other})
    for strided in STRIDES:
        condition = strided(make(3, 4, 5, dtype=torch.bool))
        yield Case({"condition": condition, "self": make(5), "other": make(4, 1)})
    condition = make(2, 3, dtype=torch.bool)
    yield Case({"condition": condition, "self": LARGE[:3], "other": LARGE[3:6]})


@cases("aten.clamp.Tensor")
def clamp_tensor(name, make):
    """Limits that are broadcast, absent, crossed."""
    for dtype in NUMBERS:
        self = make(3, 4, dtype=dtype)
        low, high = make(4, dtype=dtype), make(3, 1, dtype=dtype)
        yield Case({"self": self, "min": low, "max": high})
        yield Case({"self": self, "min": None, "max": high})
        yield Case({"self": make(0, 4, dtype=dtype), "min": low, "max": None})
        yield Case({"self": self, "min": low, "max": None})
    yield Case({"self": make(3, dtype=torch.int64), "min": make(3), "max": None})
    for dtype, low in [(torch.uint8, -2), (torch.int32, 2**32 + 1), (torch.bfloat16, 0.1)]:
        # A limit without dims takes self's dtype.
        yield Case({"self": make(3, dtype=dtype), "min": torch.tensor(low), "max": None})


@cases("aten._to_copy")
def to_copy(name, make):
    """Every dtype to every dtype."""
    for source in DTYPES:
        for target in [*DTYPES, None]:
            yield from unary(make, [source], {"dtype": target}, low=0 if target else -3)
    yield Case({"self": LARGE}, {"dtype": torch.float32})
    yield Case({"self": LARGE}, {"dtype": torch.bfloat16})
    yield Case({"self": torch.tensor([-7.9, 7.9, -0.5])}, {"dtype": torch.int64})
    yield Case({"self": torch.tensor([-1, 300, 256])}, {"dtype": torch.uint8})


@cases("aten.clone", "aten.lift_fresh_copy")
def clone(name, make):
    """A copy of anything."""
    yield from unary(make, DTYPES)


@cases("aten.copy")
def copy(name, make):
    """Broadcast and converted to self."""
    for target in DTYPES:
        for source in DTYPES:
            yield Case({"self": make(0, 3, dtype=target), "src": make(3, dtype=source, low=0)})
            for shape in [(2, 3), (1, 3), (3,), ()]:
                src = make(*shape, dtype=source, low=0)
                yield Case({"self": make(2, 3, dtype=target), "src": src})
