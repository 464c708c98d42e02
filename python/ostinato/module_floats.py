"""Takes floats that modules hold, such as an epsilon, as the constants they are.

With `dynamic=True` Dynamo makes an input of every float, so that a change of it needs no new graph.
For a module's own floats that costs more than it saves: no operator can be fused around them, and
each call makes a tensor of each.
"""

import torch
from torch._dynamo.guards import GuardBuilder, install_guard
from torch._dynamo.symbolic_convert import TensorifyState
from torch.fx import GraphModule


def hold_module_floats(gm: GraphModule):
    """Replaces modules' floats in Dynamo's graph, in place; a change of one compiles anew."""
    for placeholder in gm.graph.find_nodes(op="placeholder"):
        argument = placeholder.meta.get("grapharg")
        if argument is None or not argument.pass_arg_as_tensor:
            continue
        if not argument.source.guard_source.is_unspecialized_nn_module():
            continue
        for item in list(placeholder.users):
            number = item.meta.get("example_value")
            if item.target == "item" and isinstance(number, torch.SymFloat):
                install_guard(argument.source.make_guard(GuardBuilder.CONSTANT_MATCH))
                # AOTAutograd asks Dynamo to trace again for floats that disappeared, but for these.
                # `expr` would be the number where an operator has asked for it already.
                TensorifyState.specialize(str(number.node._expr))
                item.replace_all_uses_with(number.node.hint)
                gm.graph.erase_node(item)
    gm.recompile()
