"""The tensors of a live module by name, and whether they are still where they were."""

import torch


class LiveTensors:
    """The parameters, buffers and other tensors of a module, looked up anew at each call."""

    def __init__(self, module: torch.nn.Module):
        self._module = module
        self._links = [
            (parent._modules, name, child, child.training)
            for parent in module.modules()
            for name, child in parent._modules.items()
            if child is not None
        ]
        self._training = module.training
        self._places: dict[str, tuple[dict, str]] = {}
        for prefix, child in module.named_modules(remove_duplicate=False):
            for held in (child._parameters, child._buffers, vars(child)):
                for name, value in held.items():
                    if isinstance(value, torch.Tensor):
                        self._places[f"{prefix}.{name}" if prefix else name] = (held, name)

    def all(self) -> dict[str, torch.Tensor]:
        """By name, such as `layers.0.weight`; a tensor that two modules share has two names."""
        return {name: held[key] for name, (held, key) in self._places.items()}

    def places(self, names: list[str]) -> list[tuple[dict, str]]:
        """Where to look for tensors: a dict and its key each. Raises KeyError."""
        return [self._places[name] for name in names]

    def unchanged(self) -> bool:
        """Whether the tree of modules is as it was, and so is `training`."""
        return self._module.training == self._training and all(
            modules.get(name) is child and child.training == training
            for modules, name, child, training in self._links
        )
