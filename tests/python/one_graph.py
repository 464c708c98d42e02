"""How most tests of the backend compile."""

import torch


def compiled(function, dynamic=False, **options):
    """The function compiled as one graph."""
    return torch.compile(
        function, backend="ostinato", fullgraph=True, dynamic=dynamic, options=options
    )
