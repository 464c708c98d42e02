"""On which device a graph runs: where its tensors lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ostinato.options import Options

if TYPE_CHECKING:
    import torch


def kind_of(device: str) -> str:
    """The type of the tensors that a device works on, as PyTorch says it: `cpu` or `cuda`."""
    return "cuda" if device.startswith("cuda") else "cpu"


def device_of(tensors: Iterable[torch.Tensor]) -> str:
    """The one device that tensors lie on, such as `cuda:0`; `cpu` where there are none.

    Tensors of rank 0 on the CPU go with any, as in PyTorch. Raises ValueError for several devices.
    """
    counts: dict[str, int] = {}
    for tensor in tensors:
        if tensor.dim() or tensor.device.type != "cpu":
            counts[str(tensor.device)] = counts.get(str(tensor.device), 0) + 1
    if len(counts) > 1:
        found = ", ".join(f"{count} on {device}" for device, count in sorted(counts.items()))
        raise ValueError(
            f"expected all tensors on one device, got {found}: move the model and its inputs to "
            "the same one, as by model.to(device) and tensor.to(device)"
        )
    return next(iter(counts), "cpu")


def placed(options: Options, tensors: Iterable[torch.Tensor]) -> Options:
    """The options with the device that the tensors lie on.

    Raises ValueError for tensors on several devices, and where the option names another one.
    """
    found, asked = device_of(tensors), options.device
    fits = asked in (None, found) or (asked == "cuda" and kind_of(found) == "cuda")
    if asked == "null" and found == "cpu":  # which reads the host's memory
        return options
    if not fits:
        raise ValueError(
            f"expected the tensors on {asked}, as the option 'device' says, got them on {found}: "
            f"leave the option out, or move the model and its inputs to {asked}"
        )
    return replace(options, device=found)
