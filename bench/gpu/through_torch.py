"""Live models on the GPU through torch.compile(backend="ostinato"), for workloads.py.

The package must be importable: installed, or in PYTHONPATH.
"""

import importlib.util
from pathlib import Path

import torch


def module_at(file: str):
    """A module of bench by its file, since two of them have one name."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, Path(__file__).parents[1] / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_nothing_in_torch():
    """RuntimeError where something of what was compiled did not go to the engine."""
    import ostinato

    if found := ostinato.records():
        raise RuntimeError("; ".join(map(str, found)))


def replayed(model, inputs: dict, measure) -> dict:
    """What `measure` gives of a call of the compiled model, for its only shapes."""
    from ostinato.backend import ostinato as backend

    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)
    with torch.inference_mode():
        result = measure(lambda: compiled(**inputs))
    require_nothing_in_torch()
    return result


def growing(model, ids, tokens: int) -> dict:
    """Tokens a second of eager and of the engine, in turns, a new length every token."""
    module = module_at("models/growing.py")
    seconds, unlike = module.grow(model, ids, tokens)
    require_nothing_in_torch()
    rows = {lane: {"tokens_per_s": rate} for lane, rate in module.rates(seconds).items()}
    rows["ostinato"]["tokens_unlike_eager_by_roundings"] = unlike
    return rows
