"""Which process of a job this is."""

import torch


def world_and_rank() -> tuple[int, int] | None:
    """How many processes there are, and this one's number; None outside of torch.distributed."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    return torch.distributed.get_world_size(), torch.distributed.get_rank()
