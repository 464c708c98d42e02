"""Small tokenizers that together use every part a `tokenizer.json` can have."""

from tokenizer_corpus import HAND_PICKED
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]


def train_bpe(tokenizer: Tokenizer, **options) -> Tokenizer:
    """Train a BPE model on the hand-picked texts."""
    options = {"vocab_size": 600, "special_tokens": SPECIAL, "show_progress": False, **options}
    tokenizer.train_from_iterator(HAND_PICKED, trainers.BpeTrainer(**options))
    return tokenizer


def train_word_piece(tokenizer: Tokenizer, **options) -> Tokenizer:
    """Train a WordPiece model on the hand-picked texts."""
    options = {
        "vocab_size": 600,
        "special_tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        "show_progress": False,
        **options,
    }
    tokenizer.train_from_iterator(HAND_PICKED, trainers.WordPieceTrainer(**options))
    return tokenizer


def bert_template(tokenizer: Tokenizer) -> processors.TemplateProcessing:
    """Return BERT's template, written with TemplateProcessing."""
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")],
    )


def gpt2() -> Tokenizer:
    """Byte-level BPE with GPT-2's words, a prefix space and trimmed offsets."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    train_bpe(tokenizer, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def roberta() -> Tokenizer:
    """RoBERTa's post-processor, added tokens of every kind, truncation and padding."""
    tokenizer = gpt2()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=True
    )
    tokenizer.add_tokens(
        [
            AddedToken("<new1>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("new2", single_word=True),
            AddedToken("New3", rstrip=True),
            AddedToken("new", lstrip=True, single_word=True, normalized=False),
        ]
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.enable_truncation(20, strategy="longest_first")
    tokenizer.enable_padding(pad_id=3, pad_token="<pad>", pad_to_multiple_of=8)
    return tokenizer


def llama() -> Tokenizer:
    """BPE with byte fallback on a normalised text, as SentencePiece models are converted."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    return train_bpe(tokenizer, vocab_size=700, special_tokens=SPECIAL + bytes_, limit_alphabet=100)


def metaspace(scheme: str, split: bool) -> Tokenizer:
    """Metaspace with an unknown token that is not fused."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme, split=split)
    return train_bpe(tokenizer, limit_alphabet=80)


def clip() -> Tokenizer:
    """A suffix at the end of words, a prefix within, lower case, and BPEDecoder."""
    tokenizer = Tokenizer(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="~~")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return train_bpe(
        tokenizer,
        end_of_word_suffix="</w>",
        continuing_subword_prefix="~~",
        limit_alphabet=120,
    )


def bert(**options) -> Tokenizer:
    """BERT with BertProcessing."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    train_word_piece(tokenizer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def word_piece(pre_tokenizer, strategy: str = "only_first", direction: str = "left") -> Tokenizer:
    """WordPiece with a template, on the words of any pre-tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    train_word_piece(tokenizer)
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), bert_template(tokenizer)]
    )
    tokenizer.enable_truncation(30, strategy=strategy, direction=direction)
    tokenizer.enable_padding(direction="left", length=16, pad_type_id=1)
    return tokenizer


def bare() -> Tokenizer:
    """Nothing but a BPE model without an unknown token."""
    tokenizer = Tokenizer(models.BPE())
    return train_bpe(tokenizer, limit_alphabet=60)


def byte_level_normalizer() -> Tokenizer:
    """ByteLevel as a normaliser, whole words first, on o200k's kind of pattern."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()])
    pattern = Regex(r"[^\r\n\w]?\w+|\d{1,3}| ?[^\s\w]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, "isolated")
    tokenizer.decoder = decoders.ByteLevel()
    return train_bpe(tokenizer, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def build_all() -> dict[str, Tokenizer]:
    """Build all of them, by name."""
    built = {
        "gpt2": gpt2(),
        "roberta": roberta(),
        "llama": llama(),
        "clip": clip(),
        "bert": bert(),
        "bert-cased": bert(lowercase=False),
        "bert-raw": bert(clean_text=False, handle_chinese_chars=False, strip_accents=False),
        "bare": bare(),
        "byte-level-normalizer": byte_level_normalizer(),
        "whitespace": word_piece(pre_tokenizers.Whitespace()),
        "only-second": word_piece(pre_tokenizers.Whitespace(), "only_second", "right"),
        "longest-left": word_piece(pre_tokenizers.BertPreTokenizer(), "longest_first", "left"),
        "digits": word_piece(
            pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=False)]
            )
        ),
    }
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            built[f"metaspace-{scheme}-{split}"] = metaspace(scheme, split)
    behaviors = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
    for behavior in behaviors:
        built[f"punctuation-{behavior}"] = word_piece(pre_tokenizers.Punctuation(behavior))
        for invert in (False, True):
            built[f"split-{behavior}-{invert}"] = word_piece(
                pre_tokenizers.Split(Regex(r"\p{P}|[^\s\p{P}\d_]+\b|\s"), behavior, invert=invert)
            )
        built[f"split-string-{behavior}"] = word_piece(pre_tokenizers.Split("an", behavior))
    return built
