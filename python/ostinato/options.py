"""The backend's options: names, types, defaults, and what each means on a device."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ostinato import _engine
from ostinato.diagnostics import report


@dataclass(frozen=True)
class Options:
    """What `torch.compile(..., options={...})` takes; docs/torch-backend.md says more of each."""

    force_eager: bool = False
    force_recapture: bool = False
    capture_limit: int = 64
    capture_error_mode: str = "global"
    clone_input: bool = True
    clone_output: bool = False
    zero_copy: bool = False
    frozen_parameter: bool = False
    strict: bool = False
    threads: int = 0
    remove_noop_ops: bool = True
    pattern_fusion_pass: bool = True
    inplace_pass: bool = True
    input_inplace_pass: bool = True
    remove_cat_ops: bool = True
    post_grad_custom_pre_pass: Callable | None = None
    post_grad_custom_post_pass: Callable | None = None
    reuse_graph_pool_in_same_fx: bool = True
    use_graph_pool: tuple | None = None
    static_kernel_compile: bool = False
    disable_static_kernel_compile_cache: bool = False
    super_kernel_optimize: bool = False
    super_kernel_optimize_options: dict | None = None
    super_kernel_debug_options: dict | None = None
    deadlock_check: bool = False
    dump_tensor_data: bool = False
    data_dump_stage: str = "optimized"
    data_dump_dir: str = "./"
    device: str | None = None

    def runner_options(self) -> dict[str, Any]:
        """As the engine's runner takes them; the device must have been chosen."""
        names = _engine.pass_names()
        off = [] if self.remove_noop_ops else ["remove_noops"]
        if not self.pattern_fusion_pass:
            off += [name for name in names if name.startswith("fuse")]
        return {
            "device": self.device,
            "mode": "eager" if self.force_eager else "graph",
            "threads": self.threads,
            "capture_limit": self.capture_limit,
            "frozen_parameters": self.frozen_parameter,
            "force_recapture": self.force_recapture,
            "zero_copy": self.zero_copy,
            "strict": self.strict,
            "in_place": self.inplace_pass,
            "input_in_place": self.input_inplace_pass,
            "cat_in_place": self.remove_cat_ops,
            "specialise": self.static_kernel_compile,
            "graph_pool": ",".join(map(str, self.use_graph_pool or ())),
            "reuse_pool": self.reuse_graph_pool_in_same_fx or self.use_graph_pool is not None,
            "passes_off": off,
        }


# Without a meaning on the devices there are: the option, the values that ask for nothing, and why.
_UNUSABLE = {
    "disable_static_kernel_compile_cache": (False, "no kernels are compiled to files"),
    "super_kernel_optimize": (False, "the device has no super kernels"),
    "super_kernel_optimize_options": (None, "the device has no super kernels"),
    "super_kernel_debug_options": (None, "the device has no super kernels"),
    "deadlock_check": (False, "there are no communication kernels"),
}

_CHOICES = {
    "capture_error_mode": ["global", "thread_local", "relaxed"],
    "data_dump_stage": ["optimized", "original"],
}
_TYPES = {
    "bool": (bool, "a bool"),
    "int": (int, "an int"),
    "str": (str, "a str"),
    "tuple": (tuple, "a tuple"),
    "dict": (dict, "a dict"),
    "Callable": (Callable, "a callable"),
}


def _device_choices() -> list[str]:
    names = _engine.device_names()
    return [*names, "cuda"] if any(name.startswith("cuda:") for name in names) else names


def _check(name: str, kind: str, value):
    base, _, optional = kind.partition(" | ")
    if optional and value is None:
        return
    expected, text = _TYPES[base]
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise TypeError(f"expected {text} for the option '{name}', got {value!r}")
    choices = _CHOICES.get(name) or (_device_choices() if name == "device" else None)
    if choices and value not in choices:
        raise ValueError(
            f"expected one of {', '.join(choices)} for the option '{name}', got {value!r}"
        )


def _check_pool(handle: tuple | None):
    if handle is None:
        return
    numbers = len(handle) == 2 and all(type(number) is int for number in handle)
    if not numbers or handle.count(0) != 1:
        raise TypeError(
            "expected a pool handle of two ints, one of them zero, for the option "
            f"'use_graph_pool', got {handle!r}: make one with ostinato.graph_pool_handle()"
        )


_handles = itertools.count(1)


def graph_pool_handle() -> tuple[int, int]:
    """A new handle for the option `use_graph_pool`: graphs that are given it share their memory."""
    return 0, next(_handles)


def make_options(given: dict[str, Any] | None) -> Options:
    """Checks names, types and ranges; ValueError lists the valid names and the nearest one."""
    given = dict(given or {})
    kinds = {field.name: field.type for field in fields(Options)}  # as text
    for name, value in given.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"there is no option '{name}'.{hint} The options are: {', '.join(sorted(kinds))}."
            )
        _check(name, kinds[name], value)
    options = Options(**given)
    if not 1 <= options.capture_limit < 2**63:
        raise ValueError(f"expected capture_limit in [1, 2^63 - 1], got {options.capture_limit}")
    if options.threads < 0:
        raise ValueError(f"expected threads of at least 0, got {options.threads}")
    if options.clone_output and options.zero_copy:
        raise ValueError("clone_output and zero_copy contradict each other: set one of them")
    _check_pool(options.use_graph_pool)
    if options.dump_tensor_data and not Path(options.data_dump_dir).is_dir():
        raise FileNotFoundError(f"there is no folder '{options.data_dump_dir}' for data_dump_dir")
    for name, (idle, reason) in _UNUSABLE.items():
        if name in given and given[name] != idle:
            report("OPTION_UNUSABLE", name, detail=reason, strict=options.strict)
    return options
