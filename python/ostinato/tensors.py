"""Tells the engine of PyTorch's tensors and threads, and who hears of captures.

Imported by all that hands it tensors.
"""

import atexit

import torch

from ostinato import _engine
from ostinato.events import on_event

_engine.use_tensors_of(torch.Tensor, torch.autograd.graph.increment_version)
_engine.on_event(on_event)
atexit.register(_engine.finish_packed)
_engine.share_openmp_threads()
