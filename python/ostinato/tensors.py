"""Names PyTorch's tensors to the engine; imported by all that hands it tensors."""

import torch

from ostinato import _engine

_engine.use_tensors_of(torch.Tensor, torch.autograd.graph.increment_version)
