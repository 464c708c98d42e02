#!/usr/bin/env python3
"""Write Qwen3's tokenizer into a folder, without a model hub.

The PyPI package `dashscope` carries Qwen's vocabulary as a tiktoken file: byte strings with ranks.
A `tokenizer.json` needs the merges as well; the merge that makes a token is the last one that
byte pair encoding with the lower ranks alone would do on its bytes.

    pip install --no-deps dashscope
    python tools/make_qwen_tokenizer.py models/qwen3
"""

import argparse
import base64
import importlib.util
import json
import sys
from pathlib import Path

# In the order of their ids, which begin after the vocabulary, with Qwen3's flags `special`.
ADDED_TOKENS = [
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True),
    ("<|box_start|>", True),
    ("<|box_end|>", True),
    ("<|quad_start|>", True),
    ("<|quad_end|>", True),
    ("<|vision_start|>", True),
    ("<|vision_end|>", True),
    ("<|vision_pad|>", True),
    ("<|image_pad|>", True),
    ("<|video_pad|>", True),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
    ("<tool_response>", False),
    ("</tool_response>", False),
    ("<think>", False),
    ("</think>", False),
]

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Renders what Qwen3's chat template renders for system, user and assistant turns of plain text:
# reasoning stays only in the turns after the last question, and an empty reasoning switches
# thinking off.
CHAT_TEMPLATE = r"""
{%- set last = namespace(query=messages|length - 1, found=false) -%}
{%- for message in messages|reverse -%}
  {%- set text = message.content -%}
  {%- set is_tool = text.startswith('<tool_response>') and text.endswith('</tool_response>') -%}
  {%- if message.role == 'user' and not last.found and not is_tool -%}
    {%- set last.query = loop.revindex0 -%}
    {%- set last.found = true -%}
  {%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
  {%- set text = message.content -%}
  {{- '<|im_start|>' + message.role + '\n' -}}
  {%- if message.role == 'assistant' -%}
    {%- set reasoning = '' -%}
    {%- if '</think>' in text -%}
      {%- set before = text.split('</think>')[0].rstrip('\n') -%}
      {%- set reasoning = before.split('<think>')[-1].lstrip('\n') -%}
      {%- set text = text.split('</think>')[-1].lstrip('\n') -%}
    {%- endif -%}
    {%- if loop.index0 > last.query and (loop.last or reasoning) -%}
      {{- '<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' -}}
      {%- set text = text.lstrip('\n') -%}
    {%- endif -%}
    {{- text -}}
  {%- elif message.role in ('system', 'user') -%}
    {{- text -}}
  {%- else -%}
    {{- raise_exception('expected the role system, user or assistant, got ' + message.role) -}}
  {%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
  {%- if enable_thinking is defined and enable_thinking is false -%}
    {{- '<think>\n\n</think>\n\n' -}}
  {%- endif -%}
{%- endif -%}
""".strip()


def find_ranks() -> Path:
    """Return the path of qwen.tiktoken within the installed package dashscope."""
    spec = importlib.util.find_spec("dashscope")  # finds the package without running it
    if spec is None or spec.origin is None:
        sys.exit("The package dashscope is missing. Install it: pip install --no-deps dashscope")
    path = Path(spec.origin).parent / "resources" / "qwen.tiktoken"
    if not path.is_file():
        sys.exit(f"Expected {path} in the package dashscope. Install dashscope 1.14 or newer.")
    return path


def read_ranks(path: Path) -> dict[bytes, int]:
    """Read a tiktoken file: a token in base64 and its rank in every line."""
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return ranks


def split_token(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens whose merge makes `token`."""
    limit = ranks[token]
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], limit) for i in range(len(parts) - 1)]
        best = min(pairs)
        if best >= limit:
            sys.exit(f"Token {token!r} cannot be merged from lower ranks; the file is damaged.")
        i = pairs.index(best)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]


def byte_characters() -> list[str]:
    """Return the printable character that stands for each byte in byte-level vocabularies."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(b) if b in printable else chr(0x100 + others.index(b)) for b in range(256)]


def added_token(content: str, special: bool) -> dict:
    """Return an added token as it stands in tokenizer_config.json."""
    return {
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def build_tokenizer(ranks: dict[bytes, int]) -> dict:
    """Return the content of tokenizer.json."""
    characters = byte_characters()

    def spell(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    tokens = sorted(ranks, key=ranks.get)
    merges = [split_token(token, ranks) for token in tokens if len(token) > 1]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    split = {
        "type": "Split",
        "pattern": {"Regex": WORDS},
        "behavior": "Isolated",
        "invert": False,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": len(ranks) + i, **added_token(content, special)}
            for i, (content, special) in enumerate(ADDED_TOKENS)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split, {**byte_level, "use_regex": False}],
        },
        "post_processor": {**byte_level, "use_regex": False},
        "decoder": {**byte_level, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {spell(token): ranks[token] for token in tokens},
            "merges": [[spell(left), spell(right)] for left, right in merges],
        },
    }


def build_config(vocabulary_size: int) -> dict:
    """Return the content of tokenizer_config.json."""
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(vocabulary_size + i): added_token(content, special)
            for i, (content, special) in enumerate(ADDED_TOKENS)
        },
        "additional_special_tokens": [token for token, special in ADDED_TOKENS[1:] if special],
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def write(path: Path, content: dict) -> None:
    """Write JSON to a file, in whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(path)


def main() -> None:
    """Read the ranks, write the two files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model folder; made when it is missing")
    parser.add_argument("--ranks", type=Path, help="a qwen.tiktoken; default: dashscope's")
    arguments = parser.parse_args()
    ranks = read_ranks(arguments.ranks or find_ranks())
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write(arguments.folder / "tokenizer.json", build_tokenizer(ranks))
    write(arguments.folder / "tokenizer_config.json", build_config(len(ranks)))


if __name__ == "__main__":
    main()
