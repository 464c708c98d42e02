"""`ostinato.compile`: live transformers models whose graph the engine builds itself."""

import inspect
import json
import typing
from typing import Any

import torch

import ostinato.tensors  # noqa: F401
from ostinato import _engine
from ostinato.diagnostics import report
from ostinato.options import Options, make_options
from ostinato.placement import placed
from ostinato.plan import RunnerPlan
from ostinato.weights import LiveTensors

_REMEDY = 'Use torch.compile(model, backend="ostinato") instead.'

# Arguments of forward that may be given with these values: they ask for nothing more.
_IDLE = {
    "use_cache": (False,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "interpolate_pos_encoding": (False,),
    "return_dict": (True, False),
}


def _refuse(message: str, hint: str = _REMEDY):
    error = _engine.Error(f"[python/native] {message}. {hint}")
    error.code, error.stage, error.message, error.hint = (
        "unsupported",
        "python/native",
        message,
        hint,
    )
    raise error


def compile(model: torch.nn.Module, *, options: dict[str, Any] | None = None) -> "NativeModel":
    """The model's forward as the engine's own graph over the live weights, without tracing.

    For models as transformers makes them, of the families that docs/models.md lists; raises Error
    for any other. What it returns is called as the model is, and returns the model's output class.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")
    return NativeModel(model, make_options(options))


def _require_plain(model: torch.nn.Module):
    """Refuses models that are not as transformers makes them."""
    name = type(model).__name__
    if not type(model).__module__.startswith("transformers.") or not hasattr(model, "config"):
        _refuse(f"the class {name} is not one of transformers'")
    for path, module in model.named_modules():
        package = type(module).__module__.partition(".")[0]
        if package not in ("transformers", "torch"):
            _refuse(f"{name}'s module '{path}' is a {type(module).__qualname__}")
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            _refuse(f"{name}'s module '{path}' has hooks or a forward of its own")


def _dtype_of(model: torch.nn.Module) -> str:
    dtypes = {parameter.dtype for parameter in model.parameters()}
    if len(dtypes) != 1:
        _refuse(f"the parameters are of {len(dtypes)} dtypes")
    return str(dtypes.pop()).removeprefix("torch.")


def _output_class(model: torch.nn.Module) -> type:
    """What forward says it returns."""
    from transformers.utils import ModelOutput

    hint = typing.get_type_hints(inspect.unwrap(type(model).forward)).get("return")
    for item in [hint, *typing.get_args(hint)]:
        if isinstance(item, type) and issubclass(item, ModelOutput):
            return item
    return _refuse(f"{type(model).__name__}.forward does not say what it returns")


class NativeModel:
    """A model whose forward runs in the engine; its weights stay the live model's."""

    def __init__(self, model: torch.nn.Module, options: Options):
        self.model = model
        self._options = options
        self._signature = inspect.signature(model.forward)
        self._class = _output_class(model) if hasattr(model, "config") else None
        self._prepare()

    def _prepare(self):
        """Reads the model as it is now."""
        model = self.model
        _require_plain(model)
        if model.training:
            _refuse("the model is in training mode", "Call model.eval() first.")
        state = model.state_dict(keep_vars=True)
        options = placed(self._options, state.values())
        if not self._options.frozen_parameter and any(t.is_inference() for t in state.values()):
            _refuse(
                "parameters made in inference mode count no writes",
                "Set the option frozen_parameter, or make the model outside of inference mode.",
            )
        config = json.loads(model.config.to_json_string(use_diff=True))
        config["architectures"] = [type(model).__name__]
        native = _engine.Model.read(json.dumps(config), _dtype_of(model), list(state))
        for one, other in native.tied:
            if state[one] is not state[other]:
                _refuse(f"the weights {one} and {other} are not tied, though the config says so")
        self._inputs = dict(native.inputs)
        self._longest = native.context_length
        plan = RunnerPlan(native.forward())
        for name in self._inputs:
            plan.add("take_input", name, [])
        for parameter, _ in native.weights:
            plan.add("take_constant", parameter, [])
        self._outputs = plan.graph.output_names
        for i in range(len(self._outputs)):
            plan.add("give_output", i)
        self.runner = plan.runner(options.runner_options())
        self._tensors = LiveTensors(model)
        self._weights = self._tensors.places([name for _, name in native.weights])

    @property
    def config(self):
        """The model's."""
        return self.model.config

    def __call__(self, *args, **kwargs):
        """As the model's forward."""
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.model.parameters()):
            report("BACKWARD", type(self.model).__name__, strict=self._options.strict)
            return self.model(*args, **kwargs)
        if not self._tensors.unchanged():
            self._prepare()
        bound = self._signature.bind(*args, **kwargs)
        given = dict(bound.arguments)
        given.update(given.pop("kwargs", {}))
        tensors = self._take_inputs(given)
        keep = given.pop("logits_to_keep", 0)
        as_dict = given.get("return_dict")
        self._require_idle(given)
        weights = [held[key] for held, key in self._weights]
        results = dict(zip(self._outputs, self.runner([*tensors, *weights]), strict=True))
        if keep is not None and not (isinstance(keep, int) and keep == 0):
            where = slice(-keep, None) if isinstance(keep, int) else keep
            results["logits"] = results["logits"][:, where]
        result = self._class(**results)
        as_dict = getattr(self.config, "return_dict", True) if as_dict is None else as_dict
        return result if as_dict else result.to_tuple()

    def _take_inputs(self, given: dict[str, Any]) -> list[torch.Tensor]:
        """Takes the graph's inputs out of the arguments; fills in those that have a default."""
        tensors = []
        for name, kind in self._inputs.items():
            tensor = given.pop(name, None)
            if tensor is None:
                tensor = self._default(name, kind, tensors)
            if kind == "picture":
                tensor = tensor.to(torch.float32)
            else:
                if tensor.dim() != 2:
                    _refuse(f"expected {name} of two dims, got {tuple(tensor.shape)}")
                tensor = tensor.to(torch.int64)
            tensors.append(tensor)
        ids = tensors[0]
        if self._longest and ids.shape[1] > self._longest:
            _refuse(f"the model takes {self._longest} tokens, got {ids.shape[1]}", "Use fewer.")
        if (mask := given.pop("attention_mask", None)) is not None and not bool((mask == 1).all()):
            _refuse("the native graph of this model takes no padding in attention_mask")
        positions = given.pop("position_ids", None)
        if positions is not None and not torch.equal(
            positions, torch.arange(ids.shape[1], device=positions.device).expand_as(positions)
        ):
            _refuse("the native graph takes position_ids 0, 1, 2, … only")
        return tensors

    @staticmethod
    def _default(name: str, kind: str, tensors: list[torch.Tensor]) -> torch.Tensor:
        if kind == "attention_mask":
            return torch.ones_like(tensors[0])
        if kind == "token_types":
            return torch.zeros_like(tensors[0])
        raise TypeError(f"missing the argument '{name}'")

    @staticmethod
    def _require_idle(given: dict[str, Any]):
        for name, value in given.items():
            if value is not None and not any(value is idle for idle in _IDLE.get(name, ())):
                _refuse(f"the native graph does not take {name}={value!r:.40}")
