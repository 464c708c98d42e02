"""The command line: help, wrong words, flags and variables, and what goes to stdout."""

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from safetensors.numpy import save_file

VERBS = ["run", "generate", "bench", "tokenize", "inspect", "doctor", "devices", "new-model"]
CHAIN = """ostinato.graph 1 "chain"
input %0 "x" : float32(b, 4)
constant %1 "w" : float32(4, 4)
%2 : float32(b, 4) = aten.mm(%0, %1)
output "y" %2
"""


def examples_of(run, verb):
    """The commands below `Examples:` in a verb's help."""
    text = run(verb, "--help").stdout
    tail = text[text.index("Example") :]
    return [line.strip() for line in tail.splitlines() if line.startswith("  ostinato ")]


@pytest.fixture(scope="module")
def user_folder(tiny, tmp_path_factory):
    """A folder with what the examples in the help name."""
    folder = tmp_path_factory.mktemp("user")
    for name, model in {
        "vit-base-patch16-224": "vit",
        "all-MiniLM-L6-v2": "bert",
        "qwen3-0.6b": "qwen",
        "bert-base": "bert",
        "models/bert": "bert",
        "qwen-tokenizer": "qwen",
    }.items():
        shutil.copytree(tiny / model, folder / name)
    tool = ROOT / "tools/make_qwen_tokenizer.py"
    subprocess.run([sys.executable, tool, folder / "models/qwen3"], check=True)
    shutil.copy(folder / "models/qwen3/tokenizer_config.json", folder / "qwen3-0.6b")
    (folder / "my").mkdir()
    shutil.copy(tiny / "vit.json", folder / "my/config.json")
    Image.new("RGB", (40, 30), 77).save(folder / "cat.jpg")
    (folder / "sentences.txt").write_text("A cat sleeps.\nEin Kätzchen schläft.\n")
    (folder / "chain.graph").write_text(CHAIN)
    save_file({"w": np.eye(4, dtype=np.float32)}, folder / "chain.safetensors")
    save_file({"x": np.ones((2, 4), np.float32)}, folder / "x.safetensors")
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_examples_work(ostinato, run, user_folder, verb):
    """Every example of the help, as it is written."""
    examples = examples_of(run, verb)
    assert examples
    for example in examples:
        if verb == "new-model" and "my/config.json" not in example and "--tiny" not in example:
            continue  # gigabytes
        command = f"{ostinato} {example.removeprefix('ostinato ')}"
        result = subprocess.run(
            command, shell=True, cwd=user_folder, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, (example, result.stderr)
        assert result.stdout or ">" in example
        if "--json" in example:
            for line in result.stdout.splitlines() if verb == "tokenize" else [result.stdout]:
                json.loads(line)


# Wrong words


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ([], ["verb"]),
        (["rnu", "m"], ["'rnu'", "'run'"]),
        (["new_model", "a", "b"], ["'new-model'"]),
        (["inspct"], ["'inspect'"]),
        (["xyzzy"], ["'xyzzy'", "--help"]),
        (["run"], ["MODEL", "run --help"]),
        (["run", "m", "--imge", "a.jpg"], ["'--imge'", "'--image'"]),
        (["run", "m", "--threds=2"], ["'--threds=2'", "'--threads'"]),
        (["generate", "m", "--max-tokens", "3"], ["'--max-tokens'", "'--max-new-tokens'"]),
        (["tokenize", "m", "--tex", "a"], ["'--text'"]),
        (["inspect", "m", "--pases"], ["'--passes'"]),
        (["doctor", "--jsn"], ["'--json'"]),
        (["devices", "--jsno"], ["'--json'"]),
        (["new-model", "bert-base", "d", "--sed", "1"], ["'--seed'"]),
        (["new-model", "bert-bse", "{tmp}"], ["bert-bse", "'bert-base'"]),
        (["run", "m", "more"], ["'more'"]),
        (["run", "m", "--threads"], ["--threads"]),
        (["tokenize", "m"], ["--text", "--file", "--decode"]),
        (["tokenize", "m", "--whole", "--text", "a"], ["--whole", "--file"]),
        (["tokenize", "m", "--text", "a", "--decode", "1"], ["--decode", "--text"]),
        (["tokenize", "m", "--text", "a", "--system", "s"], ["--system", "--chat"]),
        (["generate", "m"], ["--prompt-ids", "none"]),
        (["generate", "m", "--prompt", "a", "--prompt-ids", "1"], ["--prompt-ids", "both"]),
    ],
)
def test_wrong_words(refused, tmp_path, arguments, texts):
    """What was typed is named, and what was probably meant."""
    refused(*[str(a).replace("{tmp}", str(tmp_path / "d")) for a in arguments], texts=texts)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "texts"),
    [
        (["--batch-size", "0"], ["--batch-size", "1"]),
        (["--batch-size", "-1"], ["--batch-size"]),
        (["--batch-size", "1e9"], ["--batch-size"]),
        (["--batch-size", "1000000000"], ["--batch-size"]),
        (["--batch-size", "1048576"], ["1048576×3×32×32", "smaller batch"]),
        (["--threads", "0"], ["--threads", "1024"]),
        (["--threads", "-1"], ["--threads"]),
        (["--threads", "100000"], ["--threads"]),
        (["--threads", "two"], ["--threads", "two"]),
        (["--device", "quantum"], ["'quantum'", "cpu"]),
        (["--device", "tpu"], ["'tpu'", "cpu"]),
        (["--device", ""], ["''", "cpu"]),
        (["--dtype", "float64"], ["float64", "bfloat16"]),
        (["--dtype", "int64"], ["int64", "bfloat16"]),
        (["--mode", "fast"], ["fast", "eager"]),
        (["--weights", "good"], ["--weights", "pretrained"]),
        (["--seed", "-1"], ["--seed"]),
        (["--seed", "99999999999999999999999"], ["--seed"]),
        (["--set", "nonsense=1"], ["nonsense", "capture_limit"]),
        (["--set", "capture_limit"], ["capture_limit"]),
        (["--set", "capture_limit=many"], ["capture_limit", "many"]),
        (["--set", "capture_limit=99999999999999999999"], ["capture_limit"]),
        (["--set", "pass.fold_views=perhaps"], ["fold_views", "perhaps"]),
        (["--set", "=1"], ["=1"]),
        (["--prompt", "a"], ["takes no text"]),
        (["--inputs", "{tmp}/none"], ["{tmp}/none"]),
        (["--output", "{tmp}/none/out"], ["{tmp}/none/out"]),
        (["--output", "{tmp}"], ["{tmp}"]),
        (["--output", ""], ["--output", "empty"]),
        (["--image", ""], ["--image", "empty"]),
        (["--inputs", ""], ["--inputs", "empty"]),
    ],
)
def test_wrong_values_for_run(refused, tiny, tmp_path, flags, texts):
    """Each flag of `run` with a value that cannot be."""
    put = [part.replace("{tmp}", str(tmp_path)) for part in flags]
    refused("run", tiny / "vit", *put, texts=[t.replace("{tmp}", str(tmp_path)) for t in texts])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "texts"),
    [
        (["--prompt", ""], ["--prompt", "empty"]),
        (["--prompt", b"caf\xe9"], ["--prompt", "UTF-8", "0xe9", "offset 3"]),
        (["--prompt", "a", "--prompt", ""], ["--prompt", "empty"]),
        (["--prompt", "word " * 300], ["at most 256 tokens", "--max-new-tokens"]),
        (["--prompt", "a", "--prompt", "word " * 300], ["at most 256 tokens"]),
        (["--prompt-ids", ""], ["--prompt-ids"]),
        (["--prompt-ids", "1,x"], ["--prompt-ids", "x"]),
        (["--prompt-ids", "1.5"], ["--prompt-ids"]),
        (["--prompt-ids", "700"], ["from 0 to 699", "700"]),
        (["--prompt-ids", "1,-1"], ["from 0 to 699", "-1"]),
        (["--prompt-ids", "99999999999999999999"], ["--prompt-ids"]),
        (["--prompt-ids", "1", "--max-new-tokens", "0"], ["--max-new-tokens"]),
        (["--prompt-ids", "1", "--max-new-tokens", "257"], ["at most 256 tokens"]),
        (["--prompt", "a", "--chat"], ["chat template"]),
        (["--prompt", "a", "--system", "be good"], ["--chat"]),
        (["--prompt", "a", "--no-thinking"], ["--chat"]),
    ],
)
def test_wrong_values_for_generate(refused, tiny, flags, texts):
    """Each flag of `generate` with a value that cannot be; nothing is continued before."""
    refused("generate", tiny / "qwen", *flags, texts=texts)


def test_models_that_do_not_generate(refused, tiny):
    """A classifier continues no texts."""
    refused("generate", tiny / "vit", "--prompt", "a", texts=[tiny / "vit", "ostinato run"])


@pytest.mark.parametrize(
    ("flags", "texts"),
    [
        (["--decode", "1,x"], ["--decode", "1,x"]),
        (["--decode", "1,,2"], ["--decode"]),
        (["--decode", "-5"], ["-5"]),
        (["--decode", "99999"], ["99999"]),
        (["--decode", "99999999999999999999"], ["--decode"]),
        (["--file", "{tmp}/none"], ["{tmp}/none"]),
        (["--file", "{tmp}"], ["{tmp}", "folder"]),
        (["--file", "{tmp}/pipe"], ["{tmp}/pipe", "pipe"]),
        (["--file", "/dev/zero"], ["/dev/zero", "device"]),
        (["--file", ""], ["--file", "empty"]),
        (["--decode", ""], ["--decode"]),
        (["--text", "a", "--chat"], ["chat template"]),
    ],
)
def test_wrong_values_for_tokenize(refused, tiny, tmp_path, flags, texts):
    """Each flag of `tokenize` with a value that cannot be."""
    os.mkfifo(tmp_path / "pipe")
    put = [part.replace("{tmp}", str(tmp_path)) for part in flags]
    texts = [text.replace("{tmp}", str(tmp_path)) for text in texts]
    refused("tokenize", tiny / "qwen", *put, texts=texts)


def test_wrong_values_for_inspect(refused, tiny):
    """Longer than the model's context, and no size at all."""
    refused("inspect", tiny / "bert", "--memory", "--sequence", "257", texts=["--sequence", "256"])
    refused("inspect", tiny / "bert", "--memory", "--batch-size", "0", texts=["--batch-size"])


def test_batch_size_is_what_runs(refused, run, tiny, tmp_path):
    """A batch size that something else given contradicts."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    pictures = ["--image", tmp_path / "a.png"] * 2
    refused("run", tiny / "vit", *pictures, "--batch-size", "1", texts=["--batch-size", "got 2"])
    path = tmp_path / "in.safetensors"
    save_file({"pixel_values": np.zeros((2, 3, 32, 32), np.float32)}, path)
    refused("run", tiny / "vit", "--inputs", path, "--batch-size", "3", texts=["--batch-size", "2"])
    out = json.loads(run("run", tiny / "vit", *pictures, "--batch-size", 4, "--json").stdout)
    assert out["inputs"][0]["shape"] == [4, 3, 32, 32]


def test_graph_text_keeps_its_dtype_and_weights(refused, run, user_folder):
    """What a graph text file cannot be given is refused, not ignored."""
    graph = user_folder / "chain.graph"
    run("run", graph, "--dtype", "float32")
    refused("run", graph, "--dtype", "bfloat16", texts=[graph, "float32", "bfloat16"])
    refused("run", graph, "--weights", "random", texts=[graph, "--weights"])
    refused("inspect", graph, "--dtype", "float16", texts=[graph])
    refused("generate", graph, "--prompt", "a", texts=[graph])
    refused("run", graph, "--image", user_folder / "cat.jpg", texts=[graph, "--image"])


# Variables of the environment


@pytest.mark.parametrize(
    ("name", "value", "verb"),
    [
        ("OSTINATO_THREADS", "0", "run"),
        ("OSTINATO_THREADS", "-1", "run"),
        ("OSTINATO_THREADS", "many", "devices"),
        ("OSTINATO_THREADS", "100000", "run"),
        ("OSTINATO_THREADS", "99999999999999999999", "run"),
        ("OSTINATO_ISA", "neon", "run"),
        ("OSTINATO_ISA", "AVX2", "devices"),
        ("OSTINATO_ISA", "neon", "doctor"),
    ],
)
def test_wrong_environment(refused, tiny, name, value, verb):
    """A variable that says nonsense is named with it."""
    arguments = [verb, tiny / "vit"] if verb == "run" else [verb]
    refused(*arguments, env=os.environ | {name: value}, texts=[name, value])


def test_too_many_threads(refused, tiny):
    """Threads that the system refuses are an error with a remedy, not an abort."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    refused("run", tiny / "vit", "--threads", "1024", preexec_fn=limit, texts=["1024", "--threads"])


# Where output goes


@pytest.fixture(scope="module")
def talkative(tiny):
    """Commands that print, for each verb."""
    return [
        ["--help"],
        ["run", tiny / "vit"],
        ["run", tiny / "vit", "--json"],
        ["generate", tiny / "qwen", "--prompt", "a", "--max-new-tokens", "9"],
        ["tokenize", tiny / "bert", "--text", "a"],
        ["inspect", tiny / "vit"],
        ["doctor"],
        ["devices"],
    ]


def test_full_stdout(talkative, refused):
    """Half a result is no success."""
    for arguments in talkative:
        with open("/dev/full", "w") as full:
            pipes = {"capture_output": False, "stdout": full, "stderr": subprocess.PIPE}
            if arguments[0] == "generate":
                arguments.append("--json")  # otherwise it also says how fast it was
            refused(*arguments, **pipes, texts=["stdout", "No space left"])


def test_closed_standard_files(talkative, ostinato, tiny, tmp_path):
    """Nothing of the engine gets the number of a closed stdout or stderr; no abort either."""
    for arguments in talkative:
        for closing, code in ((">&-", 2), ("2>&-", 0), ("2>/dev/full", 0), ("<&-", 0)):
            command = f"{shlex.join(map(str, [ostinato, *arguments]))} {closing}"
            result = subprocess.run(["bash", "-c", command], capture_output=True, timeout=30)
            assert result.returncode == code, (command, result.stderr)
    broken = f"{ostinato} run /nowhere 2>/dev/full"
    assert subprocess.run(["bash", "-c", broken], timeout=30).returncode == 2
    target = tmp_path / "out.safetensors"
    command = f"{ostinato} run {tiny / 'vit'} --output {target} >&- 2>&-"
    subprocess.run(["bash", "-c", command], timeout=30)
    from safetensors.numpy import load_file

    assert load_file(target)["logits"].shape == (1, 2)


def test_reader_that_leaves(talkative, ostinato):
    """`| head -1` ends a command without noise."""
    for arguments in talkative:
        command = f"{shlex.join(map(str, [ostinato, *arguments]))} | head -1 >/dev/null"
        result = subprocess.run(["bash", "-c", command], capture_output=True, timeout=30)
        assert result.returncode == 0
        assert b"internal" not in result.stderr


def test_json_of_every_verb(run, tiny, user_folder, tmp_path):
    """Each parses, and holds what its verb is for."""
    graph = user_folder / "chain.graph"
    assert len(json.loads(run("run", tiny / "bert", "--prompt", "a cat", "--json").stdout)) >= 7
    assert json.loads(run("run", graph, "--json").stdout)["outputs"][0]["name"] == "y"
    flags = ["--max-new-tokens", "3", "--json", "--ignore-eos"]
    out = run("generate", tiny / "qwen", "--prompt", "a", "--prompt", "b", *flags).stdout
    assert [len(json.loads(line)["tokens"]) for line in out.splitlines()] == [3, 3]
    out = run("generate", tiny / "qwen", "--prompt-ids", "1,2", *flags).stdout
    assert len(json.loads(out)["tokens"]) == 3
    out = run("tokenize", tiny / "bert", "--text", "a cat", "--text", "b", "--json").stdout
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["a cat", "b"]
    assert json.loads(run("tokenize", tiny / "bert", "--decode", "5,6", "--json").stdout)["text"]
    for flags, key in (
        (["--memory"], "memory"),
        (["--passes"], "passes"),
        (["--kernels"], "kernels"),
    ):
        assert json.loads(run("inspect", tiny / "bert", *flags, "--json").stdout)[key]
    assert json.loads(run("inspect", graph, "--json").stdout)["graph"].startswith("ostinato.graph")
    assert any(row["chosen"] for row in json.loads(run("devices", "--json").stdout))
    assert all(row["problem"] == "" for row in json.loads(run("doctor", "--json").stdout))
    made = json.loads(run("new-model", tiny / "vit.json", tmp_path / "v", "--json").stdout)
    assert made["parameters"] > 0


def test_odd_paths(run, ostinato, tiny, tmp_path):
    """Paths with spaces, other alphabets, newlines and bytes that are no text."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    for name in (
        b"with spaces",
        "Ελλάδα 模型".encode(),
        b"a'b\"c",
        b"new\nline",
        b"\xff\xfe",
        b"-x",
    ):
        folder = os.path.join(os.fsencode(tmp_path), b"./" + name)
        os.mkdir(folder)
        model, picture, out = (os.path.join(folder, n) for n in (b"m", b"p.png", b"o.safetensors"))
        shutil.copy(tmp_path / "a.png", os.fsdecode(picture))
        made = [ostinato, "new-model", tiny / "vit.json", model, "--json"]
        ran = [ostinato, "run", model, "--image", picture, "--output", out, "--json"]
        for command in (made, ran):
            result = subprocess.run(command, capture_output=True, timeout=30, check=False)
            assert result.returncode == 0, (name, result.stderr)
            json.loads(result.stdout)
        assert os.path.getsize(out) > 0


# Writing


@pytest.fixture()
def small_files():
    """Limits the size of files, which refuses a write in the middle as a full disk does."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))}


def test_full_disk(refused, tiny, tmp_path, small_files):
    """Nothing half-written stays, and what was there stays as it was."""
    path = tmp_path / "out.safetensors"
    path.write_text("old")
    flags = ["--output", path, "--batch-size", "4000"]
    refused("run", tiny / "vit", *flags, texts=[path, "ulimit"], **small_files)
    assert path.read_text() == "old"
    folder = tmp_path / "new"
    refused("new-model", tiny / "vit.json", folder, texts=[folder, "ulimit"], **small_files)
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("new-model", tiny / "vit.json", empty, texts=[empty], **small_files)
    tokenizer = ["--tokenizer", tiny / "qwen"]
    refused("new-model", tiny / "qwen.json", folder, *tokenizer, texts=[folder], **small_files)
    assert sorted(tmp_path.iterdir()) == [empty, path]
    assert not any(empty.iterdir())
    refused("run", tiny / "vit", "--output", "/dev/full", texts=["/dev/full"])


def test_new_model_refuses_what_is_there(refused, run, tiny, tmp_path):
    """Files of the user's are never written over or among."""
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine").write_text("mine")
    refused("new-model", tiny / "vit.json", used, texts=[used])
    refused("new-model", tiny / "vit.json", used / "mine", texts=[used / "mine"])
    refused("new-model", tiny / "vit.json", used / "mine/x", texts=[used / "mine/x"])
    refused("new-model", tiny / "vit.json", "/proc/x", texts=["/proc/x"])
    refused("new-model", tiny / "vit.json", "", texts=["DIR"])
    refused("new-model", tmp_path / "none.json", tmp_path / "x", texts=["none.json"])
    refused("new-model", tmp_path, tmp_path / "x", texts=[tmp_path, "folder"])
    refused("new-model", tiny / "vit.json", tmp_path / "x", "--tiny", texts=["--tiny"])
    tokenizer = ["--tokenizer", tmp_path]
    refused("new-model", tiny / "vit.json", tmp_path / "x", *tokenizer, texts=["tokenizer.json"])
    assert [p.name for p in tmp_path.rglob("*")] == ["used", "mine"]
    run("new-model", tiny / "vit.json", tmp_path / "deep/er/m")
    run("run", tmp_path / "deep/er/m")


def test_no_colour_and_no_escapes_in_a_pipe(ostinato, tiny, tmp_path):
    """Escape sequences are for terminals."""
    for arguments in (["run", tiny / "vit"], ["doctor"], ["run", "/nowhere"]):
        result = subprocess.run([ostinato, *arguments], capture_output=True, timeout=30)
        assert b"\x1b" not in result.stdout + result.stderr


def test_help_names_every_verb(run):
    """The overview, with the exit codes."""
    text = run("--help").stdout
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.MULTILINE), verb
        assert run(verb, "--help").stdout.startswith(text.splitlines()[0]) is False
    assert "130" in text
