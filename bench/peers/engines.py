"""The engines behind one interface, each in a process of its own: `warm` once, then `measure` round
after round. A library is imported only where its engine runs."""

import json
import logging
import os
import subprocess
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np


class Engine:
    """One engine on one case; once made, it has read the model and compiled it."""

    def __init__(self, case):
        self.case = case
        with np.load(case.store / "cases.npz") as arrays:
            self.input = arrays[f"{case.name}.input"]
            self.expected = arrays[f"{case.name}.expected"]

    def infer(self) -> np.ndarray:
        """The output for the input."""
        raise NotImplementedError

    def clear(self):
        """Empties a language model's cache."""
        raise NotImplementedError

    def feed(self, tokens: np.ndarray) -> np.ndarray:
        """Feeds a language model more tokens, or all where there is no cache; the last's logits."""
        raise NotImplementedError

    def steps(self):
        """A round: yields None once it is ready, then what each step computes."""
        first, last = len(self.input) - len(self.expected) + 1, len(self.input) + 1
        if self.case.name == "decode":
            self.clear()
            self.feed(self.input[: first - 1])
        yield None
        if self.case.name == "decode":
            yield from (self.feed(self.input[i - 1 : i]) for i in range(first, last))
        elif self.case.name == "growing":
            yield from (self.feed(self.input[:i]) for i in range(first, last))
        while self.case.name == "prefill":
            self.clear()
            yield self.feed(self.input)
        while True:
            yield self.infer()

    def first(self) -> np.ndarray:
        """What every step of a round computes; the first of them ends the start."""
        steps = self.steps()
        next(steps)
        outputs = [next(steps)]
        self.started = time.perf_counter()
        return np.stack(outputs + [next(steps) for _ in self.expected[1:]])

    def round(self) -> list[float]:
        """The milliseconds of each step."""
        steps, samples = self.steps(), []
        next(steps)
        for _ in range(self.case.steps):
            begin = time.perf_counter()
            next(steps)
            samples.append(1e3 * (time.perf_counter() - begin))
        return samples


class Torch(Engine):
    """PyTorch: eager, or by Inductor, with the weights frozen, and so packed, or not."""

    def __init__(self, case, compiled=True, frozen=False):
        super().__init__(case)
        import torch
        import transformers
        import workloads
        from torch._inductor import config as inductor

        torch.set_num_threads(case.threads)
        self.torch, self.transformers = torch, transformers
        self.model = workloads.load(case, case.dtype)
        self.call = self.eager = torch.inference_mode()(self.model)
        if compiled:
            inductor.freezing = frozen
            program = torch.compile(self.model, fullgraph=True, dynamic=case.name == "growing")
            self.call = torch.inference_mode()(program)
        self.static = compiled and case.name == "decode"
        if self.static:
            config, length = self.model.config, len(self.input) + 1
            self.cache = transformers.StaticCache(config=config, max_cache_len=length)

    def infer(self):
        """As the base class says."""
        x = self.torch.from_numpy(self.input).to(getattr(self.torch, self.case.dtype))
        output = self.call(x)
        return getattr(output, "logits", output).float().numpy()

    def clear(self):
        """As the base class says."""
        if self.static:  # of unchanging shapes and addresses, as Inductor wants it
            with self.torch.inference_mode():
                self.cache.reset()
        else:
            self.cache = self.transformers.DynamicCache(config=self.model.config)

    def feed(self, tokens):
        """As the base class says."""
        ids = self.torch.from_numpy(tokens)[None]
        if self.case.name == "growing":
            output = self.call(ids, use_cache=False, logits_to_keep=1)
        else:
            prompt = self.case.name == "decode" and len(tokens) > 1
            call = self.eager if prompt else self.call
            output = call(ids, past_key_values=self.cache, logits_to_keep=1)
        return output.logits[0, -1].float().numpy()


class OnnxRuntime(Engine):
    """ONNX Runtime with all its optimisations."""

    def __init__(self, case):
        super().__init__(case)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            case.store / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {self.session.get_inputs()[0].name: self.input}

    def infer(self):
        """As the base class says."""
        return self.session.run(None, self.inputs)[0]


class OpenVino(Engine):
    """OpenVINO, for latency."""

    def __init__(self, case):
        super().__init__(case)
        import openvino

        core = openvino.Core()
        model = core.read_model(case.store / "model.xml")
        model.reshape(list(self.input.shape))
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": case.threads}
        hints["INFERENCE_PRECISION_HINT"] = "bf16" if case.dtype == "bfloat16" else "f32"
        self.request = core.compile_model(model, "CPU", hints).create_infer_request()

    def infer(self):
        """As the base class says."""
        self.request.infer([self.input], share_inputs=True)
        return self.request.get_output_tensor(0).data.copy()


class LlamaCpp(Engine):
    """llama.cpp by its C interface."""

    def __init__(self, case):
        super().__init__(case)
        import llama_cpp

        self.api = llama_cpp
        logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
        file = str(case.store / "model.gguf").encode()
        model = llama_cpp.llama_model_load_from_file(file, llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = max(512, len(self.input))
        parameters.n_threads = parameters.n_threads_batch = case.threads
        self.context = llama_cpp.llama_init_from_model(model, parameters)
        if not self.context:
            raise RuntimeError("llama.cpp could not load the model")

    def clear(self):
        """As the base class says."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def feed(self, tokens):
        """As the base class says."""
        array = (self.api.llama_token * len(tokens))(*tokens)
        if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(tokens))):
            raise RuntimeError(f"llama_decode failed on {len(tokens)} tokens")
        logits = self.api.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(logits, self.expected.shape[1:]).copy()


class Ostinato(Engine):
    """The command under test, a process for each round: `ostinato generate` where tokens follow
    each other, otherwise the graph lane of `ostinato bench`."""

    def __init__(self, case):
        super().__init__(case)
        self.program = os.environ["OSTINATO"]
        is_chain = case.workload == "chain"
        self.model = case.store / ("chain.graph" if is_chain else "model")
        self.flags = ["--threads", case.threads]
        if not is_chain:
            self.flags += ["--dtype", case.dtype]

    def _run(self, *arguments) -> str:
        command = [self.program, *map(str, arguments), *map(str, self.flags)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def _generate(self, prompt, tokens, times=1) -> list[dict]:
        flags = ["--no-kv-cache"] if self.case.name == "growing" else []
        flags += ["--prompt-ids", ",".join(map(str, prompt))] * times
        flags += ["--max-new-tokens", tokens, "--ignore-eos", "--json", "--no-cache"]
        return [json.loads(line) for line in self._run("generate", self.model, *flags).splitlines()]

    def _inputs(self, folder) -> Path:
        from safetensors.numpy import save_file

        name = {"vit": "pixel_values", "chain": "x"}[self.case.workload]
        array = np.ascontiguousarray(self.input)
        save_file({name: array}, Path(folder) / "inputs.safetensors")
        return Path(folder) / "inputs.safetensors"

    def first(self):
        """Logits, or as one-hot rows the tokens that were chosen: the command gives no others."""
        if self.case.workload == "qwen":
            count = len(self.expected)
            prompt = self.input if self.case.name == "prefill" else self.input[: 1 - count]
            if self.case.name == "decode":
                prompt, count = self.input[:-count], count + 1
            tokens = self._generate(prompt, count)[0]["tokens"]
            self.started = time.perf_counter()
            rows = np.zeros_like(self.expected)
            rows[np.arange(len(rows)), tokens[-len(rows) :]] = 1
            return rows
        from safetensors.torch import load_file

        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "output.safetensors"
            flags = ["--inputs", self._inputs(folder), "--output", output, "--no-cache"]
            self._run("run", self.model, *flags)
            self.started = time.perf_counter()
            (tensor,) = load_file(output).values()
        return tensor.float().numpy()[None]

    def round(self):
        """As the base class says."""
        if self.case.name in ("decode", "growing"):
            first = len(self.input) - len(self.expected) + (self.case.name == "growing")
            return self._generate(self.input[:first], self.case.steps + 1)[0]["token_ms"]
        if self.case.name == "prefill":
            warm = self._generate(self.input, 1, self.case.steps + 2)[2:]
            return [prompt["first_token_ms"] for prompt in warm]
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--inputs", self._inputs(folder), "--lanes", "graph", "--json"]
            flags += ["--iterations", self.case.steps, "--warmup", 2]
            if self.case.workload == "vit":
                flags += ["--batch-size", len(self.input)]
            report = json.loads(self._run("bench", self.model, *flags))
        return report["batches"][0]["lanes"]["graph"]["samples_ms"]


# By name: the import that is no part of the start, and how the engine is made.
ENGINES = {
    "ostinato": ("numpy", Ostinato),
    "torch-eager": ("workloads", lambda case: Torch(case, compiled=False)),
    "torch-inductor": ("workloads", Torch),
    "torch-inductor-frozen": ("workloads", lambda case: Torch(case, frozen=True)),
    "onnxruntime": ("onnxruntime", OnnxRuntime),
    "openvino": ("openvino", OpenVino),
    "llama.cpp": ("llama_cpp", LlamaCpp),
}
_engine = None  # this process's


def unsupported(name: str, case) -> str | None:
    """Why an engine cannot run a case."""
    if name == "onnxruntime" and case.dtype == "bfloat16":
        return "no bfloat16 on its CPU provider"
    if name == "llama.cpp" and case.name == "growing":
        return "always keeps a cache"
    return None


def warm(name: str, case) -> dict:
    """Makes the engine; the seconds to its first output, and how its outputs agree.

    The command prints the tokens that it chose, and no logits.
    """
    global _engine
    library, make = ENGINES[name]
    import_module(library)
    begin = time.perf_counter()
    _engine = make(case)
    found, expected = _engine.first(), _engine.expected
    checked = {
        "first_s": _engine.started - begin,
        "top1": float((found.argmax(-1) == expected.argmax(-1)).mean()),
        "tokens_only": name == "ostinato" and case.workload == "qwen",
    }
    if not checked["tokens_only"]:
        norms = np.linalg.norm(found, axis=-1) * np.linalg.norm(expected, axis=-1)
        checked["cosine"] = float(((found * expected).sum(-1) / norms).min())
        checked["max_abs"] = float(np.abs(found - expected).max())
    return checked


def measure() -> list[float]:
    """One round."""
    return _engine.round()
