"""Texts that tokenizers stumble over, the same on every run."""

import random
import unicodedata

HAND_PICKED = [
    "",
    " ",
    "  leading and trailing  ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog's back. It isn't, I'm, we've, THEY'LL, ſ's",
    "Don't you'd they're we'll I've — 'tis “quoted” …",
    "naïve façade Ångström coöperate São Tomé Việt Nam Đặng",
    "e\u0301 o\u0308\u0323 a\u0323\u0308 \u0344 q\u0307\u0323 ạ̈ \u1e9b\u0323",
    "각 가각힣ᄀᆞᆨ 한국어 문장입니다.",
    "你好，世界！中文分词测试。龥豈更\U00020000\U0002a6d6",
    "日本語のテキスト、カタカナ、ﾊﾝｶｸ、が か\u3099",
    "Привет, мир! Ёлка ёлка Їжак",
    "مرحبا بالعالم، كَيْفَ حَالُكَ؟ ١٢٣",
    "שָׁלוֹם עוֹלָם",
    "नमस्ते दुनिया क्षत्रिय १२३",
    "สวัสดีชาวโลก ไทย",
    "Γειά σου Κόσμε ΌΣΟΣ ὀδυσσεύς",
    "İstanbul ISPARTA ıspanak ǅ ß ẞ ﬁ ﬃ Ⅷ ⅷ ½ ² ③ ㎏",
    "emoji 😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☕ 🫨 1️⃣",
    "math ∑∫√∞ ≠≤≥ ℝ𝔸𝒳 x²+y²=z²",
    "tabs\tand\nnewlines\r\n\r\n and \v vertical \f feeds\u2028\u2029\u0085",
    "nbsp\u00a0en\u2002em\u2003thin\u2009zwsp\u200bzwnj\u200czwj\u200dbom\ufeff\u3000wide\u180e",
    "controls \x01\x02\x07\x08\x0e\x1b[31m\x7f\x80\x9f\u00ad\u202e\u2066\ufff9",
    "private \ue000\uf8ff noncharacters \ufffe\uffff\U0010ffff\ufdd0 replaced \ufffd",
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # comment\n\n\nclass A(B):\n\tpass\n',
    "#include <vector>\nint main() { std::vector<int> v{1,2,3}; return v[0]<<2 & 0xFF; }",
    '{"key": [1, 2.5e-10, null, true], "nested": {"a": "\\u00e9\\n"}}',
    "<html><body class='x'>a &amp; b</body></html> SELECT * FROM t WHERE a='b';",
    "https://example.org/path?q=1&r=%20#frag user@example.com C:\\dir\\file.txt",
    "1234567890 3.14159 1,000,000 ２０２６ ٣٤٥ 0x1F 1e10",
    "a" * 300,
    "ab" * 150 + " " * 100 + "\n" * 50 + "x",
    "supercalifragilisticexpialidocious antidisestablishmentarianism Donaudampfschifffahrt",
    "word" * 60,
    "!!!???...,,,;;;---___===+++***///\\\\\\|||~~~```^^^%%%$$$###@@@",
    "<|im_start|>user\nhi<|im_end|>\n<think>\n\n</think><|endoftext|> <|im_start|><|im_end",
    "[CLS] text [SEP] [MASK] [PAD][UNK] [cls] [ MASK ] x[MASK]y",
    "<s>a</s><mask> <mask>  <mask>b <pad> xyz <new1> new2 mynew2word new2.NEW3 new3\tnew3",
    "do not don't do n't I 'm it 's they 're we 've . , ! ?",
    "Zalgo Z̸̢̛̗a̶̗͆l̵̰̏g̷̱̈́o̴̜͝ text",
    "\u0301leading mark \u200d\ufe0f \u0300\u0301\u0302\u0316\u0317",
    "ꙮ ᚠᛇᚻ 𐍈 𒀀 𓀀 ꧁꧂ ᠮᠣᠩᠭᠣᠯ བོད་སྐད ქართული Հայերեն አማርኛ ខ្មែរ မြန်မာ",
    "▁ ▁▁a ▁b Ġ Ċ Ġa ## ##ing <0x0A> <0xE4>",
]


def is_recent(character: str) -> bool:
    """Tell whether Unicode 14, PCRE2's and Python 3.11's, does not assign the code point yet.

    The libraries of `tokenizers` know later letters; see regex.h.
    """
    return unicodedata.category(character) == "Cn"


def fuzzed(count: int, seed: int = 20260101) -> list[str]:
    """Return random texts, mixed from what the hand-picked ones have and from all of Unicode."""
    rng = random.Random(seed)
    favourites = sorted(set("".join(HAND_PICKED)))
    chunks = [word for text in HAND_PICKED for word in text.split(" ") if word]

    def anything() -> str:
        while True:
            character = chr(rng.randrange(1, 0x110000))
            if not is_recent(character) and not 0xD800 <= ord(character) < 0xE000:
                return character

    def piece() -> str:
        kind = rng.random()
        if kind < 0.3:
            return rng.choice(favourites)
        if kind < 0.5:
            return rng.choice(chunks)
        if kind < 0.7:
            return rng.choice("   \n\t\r\u00a0.,'-_")
        if kind < 0.85:
            return chr(rng.randrange(0x20, 0x700))
        return anything()

    return ["".join(piece() for _ in range(rng.randrange(1, 30))) for _ in range(count)]


def corpus(fuzz: int = 500) -> list[str]:
    """Return the hand-picked texts and some random ones."""
    return HAND_PICKED + fuzzed(fuzz)


INVALID_UTF8 = [
    b"\xff",
    b"a\x80b",
    b"\xc3",
    b"caf\xc3 au lait",
    b"\xe4\xbd",
    b"\xe4\xbd\xa0\xe5\xa5",
    b"\xf0\x9f\x98",
    b"\xf0\x9f\x98x\xf0\x9f",
    b"\xc0\xaf overlong \xe0\x80\xaf \xf0\x80\x80\xaf",
    b"surrogate \xed\xa0\x80\xed\xb0\x80",
    b"beyond \xf4\x90\x80\x80 \xf8\x88\x80\x80\x80",
    bytes(range(128, 256)),
    b"mixed \xffhello\xfe \xe2\x82\xac\xe2\x82 end",
]
