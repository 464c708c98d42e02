"""Generation without a cache, as transformers' users write it: a new length for every token.

    ostinato new-model OUT --preset qwen3-0.6b   # or a folder with real weights
    PYTHONPATH=build/release/python python bench/models/growing.py OUT [--dtype float16]

PyTorch eager and torch.compile(backend="ostinato", dynamic=True) take turns at every token, on the
device that --device names. Prints a Markdown table; exits with 1 if a token differs where eager's
choice was clear, or an operator ran in PyTorch. The folder needs a tokenizer with a chat template.
"""

import argparse
import logging
import re
import statistics
import sys
import time

import torch
import transformers

import ostinato
from ostinato.backend import ostinato as backend

PROMPT = "Write a short story about a lighthouse keeper."
SETTLED = 3  # tokens before the times count


class CaptureCosts(logging.Handler):
    """Collects what new captures cost, from the log: plan, packing and capture, in ms."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.milliseconds = []

    def emit(self, record):
        """Takes one line of the log."""
        text = record.getMessage()
        if text.startswith("captured "):
            self.milliseconds.append(sum(map(float, re.findall(r"([\d.]+) ms", text))))


def step(model, ids):
    """The ids with the likeliest next one, the last logits, and the seconds of the call."""
    start = time.perf_counter()
    logits = model(input_ids=ids, use_cache=False).logits[:, -1]
    longer = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    if ids.is_cuda:
        torch.cuda.synchronize()
    return longer, logits, time.perf_counter() - start


def margin(logits, other):
    """By how much the choice was better than another token, in units of the logits' step."""
    best = logits.float().max()
    spacing = torch.finfo(logits.dtype).eps * best.abs()
    return ((best - logits[0, other].float()) / spacing).item()


def grow(model, ids, tokens):
    """Generates with both, in turns.

    Returns the seconds of each call by lane, and for each token that differs its margin in eager.
    """
    compiled = torch.compile(
        model, backend=backend, fullgraph=True, dynamic=True, options={"capture_limit": 256}
    )
    seconds = {"eager": [], "ostinato": []}
    unlike = []
    with torch.inference_mode():
        for _ in range(tokens):
            chosen, logits, eager = step(model, ids)
            other, _, ours = step(compiled, ids)
            seconds["eager"].append(eager)
            seconds["ostinato"].append(ours)
            if not torch.equal(chosen, other):
                unlike.append(margin(logits, other[0, -1]))
            ids = chosen
    return seconds, unlike


def rates(seconds):
    """Tokens a second by lane, once the first calls are over."""
    return {lane: 1 / statistics.median(times[SETTLED:]) for lane, times in seconds.items()}


def main():
    """Generates with both, compares, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a folder with weights and a tokenizer")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--device", default="cpu", help="such as cuda:0")
    parser.add_argument("--tokens", type=int, default=64, help="how many to generate")
    arguments = parser.parse_args()
    costs = CaptureCosts()
    logging.getLogger("ostinato").addHandler(costs)
    logging.getLogger("ostinato").setLevel(logging.INFO)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    dtype = getattr(torch, arguments.dtype)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype)
    model = model.eval().to(arguments.device)
    messages = [{"role": "user", "content": PROMPT}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer([text], return_tensors="pt").input_ids.to(arguments.device)
    seconds, unlike = grow(model, ids, arguments.tokens)
    rate = rates(seconds)
    print("| lane | first call | tokens/s | against eager |")
    print("|---|---|---|---|")
    for lane, times in seconds.items():
        ratio = rate[lane] / rate["eager"]
        print(f"| {lane} | {times[0]:.2f} s | {rate[lane]:.2f} | {ratio:.2f}× |")
    print(
        f"\n{arguments.dtype}, prompt of {ids.shape[1]} tokens, {arguments.tokens} more, "
        f"{torch.get_num_threads()} threads; a new length costs "
        f"{statistics.median(costs.milliseconds[1:]):.1f} ms once"
    )
    equal = arguments.tokens - len(unlike)
    print(
        f"tokens: {equal} of {arguments.tokens} equal"
        + "".join(f"; one at {steps:.1f} roundings from eager's choice" for steps in unlike)
    )
    for record in ostinato.records():
        print(record)
    return 1 if ostinato.records() or any(steps > 2 for steps in unlike) else 0


if __name__ == "__main__":
    sys.exit(main())
