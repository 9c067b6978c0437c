#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/*.json: small tokenizers, texts, and the ids that Hugging Face tokenizers gives.

Needs `tokenizers` (made with 0.23.3) and jinja2. Run from the repository root; the output is the same every time.
  style.json   {"tokenizer": tokenizer.json,
                "cases": [[text, ids, ids when special tokens are not parsed; null: the same]],
                "decode": [[ids, text, text without special tokens]]}
               qwen2.json also: "template": Jinja text, "chats": [[messages, generation prompt?, ids]]
  splits.json  {"tokenizer", "variants": [{"pre_tokenizer", "cases"}]}
"""
import json
import random
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = Path("tests/golden/tokenizer")
CORPUS = (
    "Tom has 14 apples. He buys 18 more, so 14 + 18 = 32. Ann's sister wasn't there; they'll come later, I've heard. "
    "for (int i = 0; i < n; i++) {\n\tsum += a[i] * b[i];\n}\n\n  return sum;  // 3.14 and 1000\n"
    "caf\u00e9 na\u00efve \u00fcber \u4f60\u597d\u4e16\u754c \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u0440\u0443"
    "\u0441\u0441\u043a\u0438\u0439 \u0e44\u0e17\u0e22 the then there this that "
) * 3
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>"
    "' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHATS = [
    [("user", "What is 14 + 18?")],
    [("user", " x\n"), ("assistant", "<think>\n14 + 18 = 32\n</think>\n\n32")],
    [("system", "You are kind.\n\n"), ("user", "\n\nHi's"), ("assistant", "caf\u00e9"),
     ("user", "e\u0301!"), ("assistant", " 3\n\n")],
    [("system", ""), ("user", "\U0001f642"), ("assistant", "")],
]
HAND = [
    "", " ", "  ", "\n", "\n\n", " \n ", "\t\r\n x", "Hello world", " Hello  world ",
    "I'll WE'VE don'T it'D he's 'S 'tis ''s'",
    "'\u017f 'LL 'l 're", "12345 1 22 333 4444 \u00bd \u2167 \u00b2x", "a1b2",
    "caf\u00e9 cafe\u0301 \u212b \u2126 \u0958", "a\u0323\u0307 a\u0307\u0323 \u0301x",
    "\u1100\u1161\u11a8 \uac00\u11a8 \ud55c\uad6d\uc5b4", "\ufb01\ufb02 \u00a0\u3000\u180e\u2028\u0085|",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f642!",
    "x\n\n\n  y   z", "...!!!\n\n", "foo_bar(x)=y;", "<|im_start|>user\nhi<|im_end|>\n",
    "<|im_start|><|im_end|><|im_st", "a<|im_end|> b",
    "<think>\nx\n</think>\n\ny", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "a\u1ac9\u0349 \U00011935\U00011930",
    "\u0001\u007f\u00ad\ufffd", "word wordy sword word", "  [m]  [m][m] x[m]",
    "\u00c5ngstr\u00f6m A\u030angstro\u0308m",
]
ALPHABET = list(" \n\r\t'sSlLeEr1aZ.(\u00e9\u0301\u0323\u00a0\u017f\u4f60\u1100\u1161\uac00\U0001f642\u0e44")
ALPHABET += ["<|im_end|>", "<think>", "[m]", "word", "there"]


def texts(seed, n):
    r = random.Random(seed)
    made = ["".join(r.choice(ALPHABET) for _ in range(r.randrange(1, 24))) for _ in range(n)]
    ranges = [(0x20, 0x250), (0x250, 0x3000), (0x10000, 0x20000)]
    made += ["".join(chr(r.randrange(*r.choice(ranges))) for _ in range(12)) for _ in range(n // 3)]
    return HAND + made


def byte_level(regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern, behavior, invert)


def learn(pre, normalizer=None, vocab_size=400, added=()):
    t = Tokenizer(models.BPE())
    if normalizer is not None:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    how = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    t.train_from_iterator([CORPUS], how)
    t.add_tokens(list(added))
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in special])
    return t


def encode(t, text, special):
    t.encode_special_tokens = not special
    return t.encode(text, add_special_tokens=False).ids


def case(t, text):
    ids, plain = encode(t, text, True), encode(t, text, False)
    return [text, ids, plain if plain != ids else None]


def cases(t, seed, n):
    return [case(t, s) for s in texts(seed, n)]


def decodes(t, seed):
    r = random.Random(seed)
    ids = [encode(t, s, True) for s in HAND[::3]] + [[r.randrange(256) for _ in range(12)] for _ in range(12)]
    ids = [i for i in ids if i]
    made = [[i, t.decode(i, skip_special_tokens=False), t.decode(i, skip_special_tokens=True)] for i in ids]
    return [m for m in made if "\0" not in m[1]]


def chats(t):
    """As transformers renders templates and encodes what they give."""
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHATML)
    made = []
    for i, chat in enumerate(CHATS):
        messages = [{"role": r, "content": c} for r, c in chat]
        ask = i % 2 == 0
        made.append([messages, ask, encode(t, template.render(messages=messages, add_generation_prompt=ask), True)])
    return made


def write(name, value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    (OUT / name).write_text(text + "\n")


def as_json(t):
    return json.loads(t.to_str())


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    think = [AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)]
    pre = pre_tokenizers.Sequence([split(Regex(CL100K % r"\p{N}")), byte_level()])
    qwen2 = learn(pre, normalizers.NFC(), added=think)
    write("qwen2.json", {"tokenizer": as_json(qwen2), "cases": cases(qwen2, 1, 40), "decode": decodes(qwen2, 1),
                         "template": CHATML, "chats": chats(qwen2)})

    gpt2 = learn(byte_level(regex=True, prefix=True), vocab_size=350)
    write("gpt2.json", {"tokenizer": as_json(gpt2), "cases": cases(gpt2, 2, 20), "decode": decodes(gpt2, 2)})

    # every way an added token can match, merges as pairs, ignore_merges, a token before the text
    odd = [AddedToken("[m]", lstrip=True, rstrip=True, normalized=False),
           AddedToken("word", single_word=True, normalized=False),
           AddedToken("\u212bngstr\u00f6m", normalized=True), AddedToken("<think>", rstrip=True, normalized=False)]
    pre = pre_tokenizers.Sequence([split(Regex(CL100K % r"\p{N}{1,3}")), byte_level()])
    llama3 = learn(pre, normalizers.NFC(), 380, odd)
    value = as_json(llama3)
    value["model"]["ignore_merges"] = True
    value["model"]["merges"] = value["model"]["merges"][:60]  # so that whole words are found that merges do not reach
    llama3 = Tokenizer.from_str(json.dumps(value))
    bos = ("<|endoftext|>", llama3.token_to_id("<|endoftext|>"))
    llama3.post_processor = processors.TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    write("llama3.json", {"tokenizer": as_json(llama3), "cases": cases(llama3, 3, 40), "decode": []})

    base = learn(byte_level(regex=True), vocab_size=320)
    behaviors = ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
    plain = [[split(" ", b, i)] for b in behaviors for i in (False, True)]
    steps = plain + [
        [split(Regex(r"[\r\n]")), split(Regex(r"\s?\p{L}+")), split(Regex(r"\s?\p{P}+")),
         pre_tokenizers.Digits(individual_digits=True)],
        [pre_tokenizers.Digits(individual_digits=False)],
        [split(Regex(r"a*"))],
        [split(Regex(r"^[^\n]|\S$"), "contiguous")],
        [split(Regex(r"[^\p{Lu}\d]+\v?"), "merged_with_previous")],
        [split(Regex(r"(?<=\p{L})[\S](?=\p{M})|\u00e9|[\x{20}-\x{2f}\]]"), "merged_with_next")],
    ]
    variants = []
    for i, s in enumerate(steps):
        base.pre_tokenizer = pre_tokenizers.Sequence(s + [byte_level(regex=i % 2 == 0)])
        got = [case(base, x) for x in texts(10 + i, 8)[i % 3 + 1 :: 3]]
        variants.append({"pre_tokenizer": as_json(base)["pre_tokenizer"], "cases": got})
    write("splits.json", {"tokenizer": as_json(base), "variants": variants})


if __name__ == "__main__":
    main()
