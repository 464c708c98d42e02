"""`python -m ostinato.bench --model FOLDER`: the lanes of a HuggingFace model side by side."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ostinato import _engine
from ostinato.lanes import MODES, BenchError, architecture_of, weights_of

_BAD_USAGE = 2
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise BenchError(message, "See python -m ostinato.bench --help.")


def _names(text: str) -> list[str]:
    return text.split(",")


def _sizes(text: str) -> list[int]:
    sizes = [int(size) for size in text.split(",")]
    if min(sizes) < 1 or len(set(sizes)) != len(sizes):
        raise ValueError(text)
    return sizes


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m ostinato.bench",
        description="Golden (PyTorch in float32), PyTorch, and the engine's lanes side by side: "
        "how right, how fast, how much memory.",
        epilog="Exit code 1 when a lane of the engine fails the accuracy gates, 2 for bad input.",
    )
    add = parser.add_argument
    add("--model", required=True, metavar="FOLDER", help="config.json and safetensors")
    add("--dtype", help="float32, bfloat16 or float16; by default the configuration's")
    add("--lanes", type=_names, help=f"of {','.join(MODES)}; all but inductor by default")
    add("--weights", choices=["pretrained", "random"], help="by default what the folder has")
    add("--threads", type=int, help="of every lane; by default one for each processor")
    add("--batch-size", type=_sizes, metavar="N[,N...]", help="of random inputs; 1 by default")
    add("--tokens", type=int, metavar="N", help="of random inputs; 16 by default")
    add("--prompt", action="append", metavar="TEXT", help="a text to read; one batch of all")
    add("--inputs", metavar="FILE", help="safetensors, named as the model's arguments")
    add("--seed", type=int, default=0, help="of random inputs and weights")
    add("--warmup", type=int, default=3, help="calls before those that are timed")
    add("--iterations", type=int, default=100, help="timed calls; golden stops after 5 seconds")
    add("--dynamic", action="store_true", default=None, help="compile for any size")
    add("--strict", action="store_true", help="fail when something does not run in the engine")
    add("--output-dir", metavar="DIR", help="write the report's files there")
    add("--json", action="store_true", help="print JSON instead of Markdown")
    return parser


def _random_inputs(config, name: str, batch: int, tokens: int, generator) -> dict:
    import torch

    if name == "input_ids":
        shape = (batch, tokens)
        return {name: torch.randint(config.vocab_size, shape, generator=generator)}
    size = getattr(config, "image_size", None)
    if name == "pixel_values" and size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        channels = getattr(config, "num_channels", 3)
        return {name: torch.randn(batch, channels, height, width, generator=generator)}
    raise BenchError(
        f"nobody knows what random {name} of {config.model_type} look like", "Give --inputs."
    )


def _calls(given, cls, config) -> tuple[list[tuple[tuple, dict]], str]:
    """The keyword arguments of each batch, and where their values are from."""
    import torch

    sized = given.batch_size is not None or given.tokens is not None
    if sum([given.prompt is not None, given.inputs is not None, sized]) > 1:
        raise BenchError(
            "--inputs, --prompt, and --batch-size with --tokens exclude each other",
            "Leave all but one out.",
        )
    if given.inputs is not None:
        from safetensors.torch import load_file

        return [((), load_file(given.inputs))], str(given.inputs)
    if given.prompt is not None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(given.model, local_files_only=True)
        if len(given.prompt) > 1 and tokenizer.pad_token is None:
            raise BenchError("the tokenizer has no padding", "Give one --prompt.")
        return [((), dict(tokenizer(given.prompt, padding=True, return_tensors="pt")))], "text"
    generator = torch.Generator().manual_seed(given.seed)
    tokens = 16 if given.tokens is None else given.tokens
    calls: list[tuple[tuple, dict]] = [
        ((), _random_inputs(config, cls.main_input_name, batch, tokens, generator))
        for batch in given.batch_size or [1]
    ]
    return calls, f"random, seed {given.seed}"


def _run(given) -> int:
    if not (Path(given.model) / "config.json").is_file():
        raise BenchError(
            f"expected a folder with config.json, got {given.model}",
            "Give --model the folder of a model that transformers has saved.",
        )
    import torch

    from ostinato.benchmark import DEFAULT_LANES, Settings, Subject, measure

    cls, config = architecture_of(given.model)
    weights = given.weights
    if weights != "random":
        weights = weights_of(given.model)
        if given.weights == "pretrained" and weights == "random":
            raise BenchError(
                f"expected pretrained weights in {given.model}, got the random ones of "
                "`ostinato new-model`",
                "Give a folder with trained weights; or leave --weights out, and the report will "
                "call them random.",
            )
    calls, origin = _calls(given, cls, config)
    notes = []
    if cls.can_generate() and getattr(config, "use_cache", False):
        notes.append("Each call reads all tokens at once, with use_cache=False.")
        calls = [(arguments, {**keywords, "use_cache": False}) for arguments, keywords in calls]
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in cls(config).parameters())
    report = measure(
        Subject(
            model=given.model,
            source=given.model,
            family=config.model_type,
            parameters=parameters,
            dtype=str(config.dtype or torch.float32).removeprefix("torch."),
            weights=weights,
            calls=calls,
            origin=origin,
            notes=notes,
        ),
        Settings(
            dtype=given.dtype,
            lanes=given.lanes or DEFAULT_LANES,
            threads=given.threads,
            warmup=given.warmup,
            iterations=given.iterations,
            seed=given.seed,
            dynamic=given.dynamic,
            strict=given.strict,
            output_dir=given.output_dir,
            progress=lambda what: print(f"bench: {what}", file=sys.stderr, flush=True),
        ),
    )
    print(json.dumps(report, indent=1) if given.json else report)
    return 0 if report.passed else 1


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    try:
        return _run(_make_parser().parse_args(arguments))
    except _engine.Error as error:
        print(f"ostinato: {error}", file=sys.stderr)
        return _BAD_USAGE
    except ModuleNotFoundError as error:
        print(f"ostinato: [bench] there is no {error.name}. Install it.", file=sys.stderr)
        return _BAD_USAGE
    except (OSError, TypeError, ValueError) as error:
        text = " ".join(str(error).split()).rstrip(".")
        print(f"ostinato: [bench] {text}. Check the arguments.", file=sys.stderr)
        return _BAD_USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
