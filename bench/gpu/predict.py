"""What a decoding step takes on paper, as a persistent launch and as a graph of kernels.

python bench/gpu/predict.py

A step is as long as the longer of two things: all its bytes at the card's copy bandwidth, and the
chain of its stages, each of which waits for the one before and then uses what has been copied
into shared memory meanwhile. docs/persistent.md has what this prints, and what it leaves out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """The sizes of a decoder in a dtype of two bytes."""

    name: str
    layers: int
    hidden: int
    wide: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    def weight_bytes(self) -> int:
        """Read by every step: all layers and the head, and no embeddings but one row."""
        attention = (2 * self.heads + 2 * self.kv_heads) * self.head_dim * self.hidden
        layer = attention + 3 * self.hidden * self.wide
        return 2 * (self.layers * layer + self.vocabulary * self.hidden)

    def cache_bytes(self, context: int) -> int:
        """Keys and values of one sequence."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim * context

    def stages(self) -> int:
        """That wait for each other: five a layer, the embedding, the head and the argmax."""
        return 5 * self.layers + 3


@dataclass(frozen=True)
class Card:
    """A GPU: what a large copy reaches, counting bytes read, and its multiprocessors."""

    name: str
    bandwidth: float
    multiprocessors: int
    clock: float


MODELS = (
    Model("Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151936),
    Model("Llama-3.2-1B", 16, 2048, 8192, 32, 8, 64, 128256),
    Model("Qwen3-1.7B", 28, 2048, 6144, 16, 8, 128, 151936),
    Model("Qwen3-4B", 36, 2560, 9728, 32, 8, 128, 151936),
    Model("Qwen2.5-7B", 28, 3584, 18944, 28, 4, 128, 152064),
    Model("Qwen3-8B", 36, 4096, 12288, 32, 8, 128, 151936),
    Model("Qwen3-32B", 64, 5120, 25600, 64, 8, 128, 151936),
)
# Nine tenths of the bandwidth on the data sheet, but for the first, which was measured.
CARDS = (
    Card("H200", 4.3e12, 132, 1.75e9),
    Card("H100 SXM", 3.0e12, 132, 1.75e9),
    Card("B200", 7.2e12, 148, 1.8e9),
)
WAITS_US = (1.0, 1.5, 2.0, 3.0)  # from the end of a stage to the first use of its results
KERNEL_US = 1.3  # from the end of a kernel in a graph to the next one's full speed
KERNELS_PER_LAYER = 6
# A warp's instructions for 512 bytes of weights: two loads, sixteen conversions, eight products.
INSTRUCTIONS = 26 / 512
ISSUED_PER_CLOCK = 4
RING = 6 * 32768  # bytes in flight or waiting on a multiprocessor
CHOICE = 2  # waits between the last use of weights and the choice of a token that all have seen


def used_per_second(card: Card, batch: int) -> float:
    """Bytes in shared memory that all warps multiply by a batch's vectors in a second."""
    return card.multiprocessors * card.clock * ISSUED_PER_CLOCK / (INSTRUCTIONS * batch)


def pause_seconds(card: Card, wait_us: float, ahead: bool) -> float:
    """In which nothing is copied between two tokens of a launch.

    Copied ahead of the choice, a ring of weights fills it and the wait for the embedding after it.
    """
    if not ahead:
        return CHOICE * wait_us * 1e-6
    return max(0.0, (CHOICE + 1) * wait_us * 1e-6 - card.multiprocessors * RING / card.bandwidth)


def step_seconds(
    model: Model, card: Card, context: int, wait_us: float, batch: int = 1, ahead: bool = True
) -> float:
    """As a persistent launch."""
    cache = batch * model.cache_bytes(context)
    copied = (model.weight_bytes() + cache) / card.bandwidth + pause_seconds(card, wait_us, ahead)
    used = model.weight_bytes() / used_per_second(card, batch) + cache / used_per_second(card, 1)
    return max(copied, model.stages() * wait_us * 1e-6 + used)


def graph_seconds(model: Model, card: Card, context: int) -> float:
    """As a graph of kernels, none of which begins to read before the one before it is done."""
    copied = (model.weight_bytes() + model.cache_bytes(context)) / card.bandwidth
    return copied + (KERNELS_PER_LAYER * model.layers + 3) * KERNEL_US * 1e-6


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables() -> str:
    """All that the page shows."""
    qwen, h200 = MODELS[0], CARDS[0]
    by_wait = [
        [
            f"{context}",
            f"{graph_seconds(qwen, h200, context) * 1e6:.0f}",
            *(f"{step_seconds(qwen, h200, context, wait) * 1e6:.0f}" for wait in WAITS_US),
        ]
        for context in (128, 512, 4096, 32768)
    ]
    by_batch = [
        [
            f"{batch}",
            *(f"{step_seconds(qwen, h200, c, 1.5, batch) * 1e6:.0f}" for c in (128, 512, 4096)),
        ]
        for batch in (1, 2, 4, 8, 16)
    ]
    by_border = [
        [name, *(f"{step_seconds(qwen, h200, 512, wait, ahead=a) * 1e6:.0f}" for wait in WAITS_US)]
        for name, a in (("copied ahead", True), ("copied when the token is chosen", False))
    ]
    by_model = [
        [
            model.name,
            f"{model.weight_bytes() / 1e9:.2f}",
            *(f"{1 / step_seconds(model, card, 512, 1.5):.0f}" for card in CARDS),
            f"{graph_seconds(model, h200, 512) / step_seconds(model, h200, 512, 1.5):.2f}",
        ]
        for model in MODELS
    ]
    waits = [f"{wait} µs a wait" for wait in WAITS_US]
    return "\n\n".join(
        [
            "Qwen3-0.6B on an H200, µs a step, by context:",
            table(["context", "graph of kernels", *waits], by_wait),
            "At context 512, by when a step's first weights are copied:",
            table(["", *waits], by_border),
            "At 1.5 µs a wait, µs a step of a whole batch, by context:",
            table(["batch", "128", "512", "4096"], by_batch),
            "At context 512 and 1.5 µs a wait, tokens/s:",
            table(
                ["model", "GB", *(card.name for card in CARDS), "× graph, H200"],
                by_model,
            ),
        ]
    )


if __name__ == "__main__":
    print(tables())
