"""Token ids against `transformers`, and what the tokenizer promises beyond them."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sfumato.text
from sfumato.text import Tokenizer

VOCABULARY = Path(sfumato.text.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
WORDS_IN_A_TEXT = """
a the photograph painting of an astronaut riding horse, in style; by Vermeer's cat's dogs
masterpiece best quality 8k 4096x2160 UHD (highly:1.3) [detailed] {red|blue} <lora:film:0.8> AND
BREAK ((sharp)) don't they're I'll we've I'm he'd O'Neill rock'n'roll hello!!! what?? ... --ar 16:9
3.14159 1,000,000 №5 ½ ² Ⅻ ﬁre ﬀ ß ẞ İstanbul ığdır Ǆ ĳ naïve café cafe\u0301 Å A\u030a Å ñ n\u0303
한국어 \u1112\u1161\u11ab 猫が好き ネコ カタカナ 你好世界 繁體字 ประเทศไทย हिन्दी العربية עִבְרִית
Ελληνικά ὈΔΥΣΣΕΎΣ Привет МИР ქართული հայերեն ᏣᎳᎩ 𝓯𝓪𝓷𝓬𝔂 ＦＵＬＬ ｗｉｄｔｈ
👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇫🇷 ❤️ ☕ 🐴 ™ © ® € £ ¥ ° ± ¿ ¡ « » “quoted” ‘single’ — – … • →
&amp; &lt;b&gt; &#39; &nbsp; <b>bold</b> <br/> <!-- --> https://example.org/?q=a%20b#c user@host.com
\\n C:\\path\\file `code` $x^2$ #tag @name _under_score_ snake-case camelCase SCREAMING 'quoted'
</w> Ġ </w></w> <|endoftext|> <|startoftext|> <|ENDOFTEXT|> <|endoftext| |> < | ' '' ''' 's 'S
"""
WORDS = WORDS_IN_A_TEXT.split()
SPACES = [" ", " ", " ", "", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2009", "\u200b"]
ODD = ["\x00", "\x07", "\x1b[31m", "\x7f", "\x85", "\u00ad", "\u200d", "\u200e", "\u202e", "\ufeff"]
ODD += [
    "\ufffd",
    "\uffff",
    "\U0010ffff",
    "\u0301" * 20,
    "Z\u0351\u036b\u0343a\u034cl",
    "\U000e0041",
]
MARKERS = ("<|startoftext|>", "<|endoftext|>")


def prompts(count: int = 1500) -> list[str]:
    """Varied prompts, the same ones each time."""
    draw = random.Random(20240607)
    made = ["", " ", "\n", "a", "A", "'", "a" * 5000, "ab " * 1000, "🐴" * 300, *WORDS, *ODD]
    while len(made) < count:
        kind = draw.random()
        if kind < 0.6:
            parts = draw.choices([*WORDS, *ODD], k=draw.randint(1, 30))
            made.append("".join(part + draw.choice(SPACES) for part in parts))
        elif kind < 0.7:
            made.append(" ".join(draw.choices(WORDS, k=draw.randint(100, 400))))
        else:  # any characters of one script block, or of all of Unicode
            low = draw.choice([0x20, 0xA0, 0x300, 0x400, 0x900, 0x2000, 0x3000, 0xAC00, 0x1F300])
            high = draw.choice([low + 0x80, 0x110000])
            points = (draw.randrange(low, high) for _ in range(draw.randint(1, 60)))
            made.append("".join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
    return made


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer()


def write_vocabulary(folder: Path) -> None:
    """Writes vocab.json and merges.txt from the packaged file, by the recipe of CLIP's authors."""
    lines = gzip.decompress(VOCABULARY.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    characters = [*map(chr, [*range(33, 127), *range(161, 173), *range(174, 256)])]
    characters += [chr(256 + i) for i in range(256 - len(characters))]
    pieces = characters + [c + "</w>" for c in characters]
    pieces += [line.replace(" ", "") for line in lines] + [*MARKERS]
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_vocabulary(folder)
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    """`transformers`' tokenizer from vocab.json and merges.txt; called at will with a new pad."""
    from transformers import CLIPTokenizer

    return lambda **options: CLIPTokenizer(
        vocab=json.loads((folder / "vocab.json").read_text("utf-8")),
        merges=[
            tuple(line.split())
            for line in (folder / "merges.txt").read_text("utf-8").split("\n")[1:]
            if line
        ],
        **options,
    )


@pytest.fixture(scope="module")
def judge(reference):
    return reference()


def test_vocabulary_file_is_the_published_one():
    digest = hashlib.sha256(VOCABULARY.read_bytes()).hexdigest()
    assert digest == "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
    assert "MIT License" in VOCABULARY.with_name("bpe_simple_vocab_16e6.NOTICE.txt").read_text()


def test_known_ids(tokenizer):
    ids = tokenizer.encode("a caterpillar smoking a hookah while sitting on a mushroom")
    assert ids[:5] == [49406, 320, 27111, 9038, 320]  # stated by the tests of OpenAI and KerasCV
    assert (tokenizer.start_of_text, tokenizer.end_of_text) == (49406, 49407)
    assert len(tokenizer) == len(tokenizer.vocab) == 49408
    assert tokenizer.vocab[27111] == "caterpillar</w>"


def test_ids_equal_transformers(tokenizer, judge):
    varied = prompts()
    assert len(set(varied)) > 1400
    expected = judge(varied, split_special_tokens=True)["input_ids"]
    for text, ids in zip(varied, expected, strict=True):
        assert tokenizer.encode(text) == ids, repr(text)


def test_ids_equal_transformers_as_called_by_default(tokenizer, judge):
    plain = [text for text in prompts() if not any(marker in text for marker in MARKERS)]
    assert len(plain) > 1000
    for text, ids in zip(plain, judge(plain)["input_ids"], strict=True):
        assert tokenizer.encode(text) == ids, repr(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
@settings(max_examples=300, deadline=None)
def test_ids_equal_transformers_on_any_text(tokenizer, judge, text):
    assert tokenizer.encode(text) == judge(text, split_special_tokens=True)["input_ids"]


def test_rows_equal_transformers(tokenizer, judge):
    varied = [text for text in prompts(300) if len(tokenizer.encode(text)) <= 77]
    options = {"padding": "max_length", "truncation": True, "split_special_tokens": True}
    expected = judge(varied, max_length=77, return_tensors="np", **options)["input_ids"]
    rows = tokenizer(varied)
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, expected)


def test_too_long_prompt_is_cut_and_named(tokenizer, judge):
    text = "one " * 75 + "Gigantic Zebra"
    with pytest.warns(UserWarning, match=r"77 tokens .* reads 75\. .* cut off: 'gigantic zebra'"):
        row = tokenizer(text)
    assert row.shape == (1, 77)
    assert row[0].tolist() == judge(text, max_length=77, truncation=True)["input_ids"]
    tokenizer("one " * 75)  # fits exactly: no warning


def test_padding_of_second_generation_models(reference):
    judge = reference(pad_token="!")
    row = Tokenizer(pad_token=0)("a horse")[0]
    expected = judge("a horse", padding="max_length", max_length=77)["input_ids"]
    assert row.tolist() == expected
    assert row.tolist() == [49406, 320, 4558, 49407] + [0] * 73
    # Known difference: a padding token that stands in the text keeps its meaning here.
    assert judge("wow!")["input_ids"] == [49406, 2781, 0, 49407]
    assert Tokenizer(pad_token=0).encode("wow!") == [49406, 2781, 256, 49407]


def test_typed_markers_are_plain_text(tokenizer, judge):
    for text in ("a <|endoftext|> b", "<|startoftext|><|endoftext|>", "<|ENDOFTEXT|>"):
        ids = tokenizer.encode(text)
        assert not {49406, 49407} & set(ids[1:-1])
        assert ids == judge(text, split_special_tokens=True)["input_ids"]


@pytest.mark.parametrize(
    ("text", "same_as"),
    [("\ud800", "\ufffd"), ("a\udfffb", "a\ufffdb"), ("\ud83d\udc34", "🐴")],
)
def test_surrogates_are_read_as_text(tokenizer, text, same_as):
    assert tokenizer.encode(text) == tokenizer.encode(same_as)


def test_only_strings_are_text(tokenizer):
    with pytest.raises(TypeError, match=r"`text` must be a string\. Received: int"):
        tokenizer.encode(3)
    with pytest.raises(ValueError, match=r"`length` must be a whole number from 2. .* length=1"):
        tokenizer("a", length=1)
    with pytest.raises(ValueError, match="`pad_token` must be a whole number from 0 to 49407"):
        Tokenizer(pad_token=-1)


def test_a_very_long_text_takes_no_time(tokenizer):
    assert len(tokenizer.encode("antidisestablishmentarianism" * 30_000)) > 100_000


def test_decode(tokenizer, judge):
    assert (
        tokenizer.decode(tokenizer.encode("A  photo of 3 Cäts, 猫🐴"))
        == "a photo of 3 cäts , 猫 🐴"
    )
    assert tokenizer.decode(Tokenizer(pad_token=0)("a cat")[0]) == "a cat"
    for text in prompts(400):
        ids = tokenizer.encode(text)
        expected = judge.decode(ids, skip_special_tokens=True)
        assert tokenizer.decode(ids) == expected.strip(), repr(text)
    with pytest.raises(ValueError, match=r"`ids` must lie between 0 and 49407\. Received: 49408"):
        tokenizer.decode([49408])


@given(st.text(st.sampled_from("aé猫🐴 \n.,!'1"), max_size=40))
@settings(max_examples=200, deadline=None)
def test_decoded_text_has_the_same_ids(tokenizer, text):
    ids = tokenizer.encode(text)
    once = tokenizer.decode(ids)
    assert tokenizer.decode(tokenizer.encode(once)) == once


def test_placeholder_tokens(reference):
    tokenizer, judge = Tokenizer(), reference()
    assert tokenizer.add_tokens(["<My-Cat>", "☃style", "<my-cat>"]) == 2
    assert tokenizer.add_tokens("<MY-CAT>") == tokenizer.add_tokens("<|endoftext|>") == 0
    assert tokenizer.add_tokens("Caterpillar</w>") == 0
    judge.add_tokens(["<My-Cat>", "☃style"])
    assert len(tokenizer) == len(tokenizer.vocab) == len(tokenizer.encoder) == 49410
    assert tokenizer.encoder["<My-Cat>"] == 49408
    for text in ["a photo of <My-Cat>!", "a photo of <my-cat>", "x<MY-CAT>y ☃STYLE", "<my- cat>"]:
        assert tokenizer.encode(text) == judge(text)["input_ids"], text
    assert 49408 in tokenizer.encode("A PHOTO OF <MY-CAT>")
    assert tokenizer.decode(tokenizer.encode("my <my-cat>, ☃style")) == "my <My-Cat> , ☃style"
    with pytest.raises(ValueError, match=r"`tokens` must not be empty\. Received: ' '"):
        tokenizer.add_tokens(" ")
    assert len(Tokenizer()) == 49408  # another tokenizer knows nothing of them
    assert 49408 not in Tokenizer().encode("a photo of <my-cat>")


MODEL = {"vocab": {p: i for i, p in enumerate(["a", "a</w>", *MARKERS])}, "merges": []}


def test_from_an_empty_folder(tmp_path):
    assert Tokenizer.from_folder(tmp_path)("a cat").tolist() == Tokenizer()("a cat").tolist()


@pytest.mark.parametrize("pad", ["!", {"content": "!", "normalized": True}])
def test_from_a_diffusers_folder(folder, tmp_path, pad):
    from transformers import CLIPTokenizer

    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<|endoftext|>"}')
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": pad}))
    (tmp_path / "added_tokens.json").write_text('{"<b>": 49409, "<A>": 49408}')
    tokenizer = Tokenizer.from_folder(tmp_path)
    judge = CLIPTokenizer.from_pretrained(tmp_path)
    assert tokenizer.pad_token == judge.pad_token_id == 0
    assert tokenizer.encoder["<A>"] == 49408
    for text in ["a cat", "<a> and <b>", ""]:
        expected = judge(text, padding="max_length", max_length=77)["input_ids"]
        assert tokenizer(text)[0].tolist() == expected


def test_from_a_folder_with_its_own_small_vocabulary(tmp_path):
    pieces = ["a", "c", "t", "a</w>", "t</w>", "at</w>", "cat</w>", *MARKERS]
    (tmp_path / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na t</w>\nc at</w>\n")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer("a cat", length=6).tolist() == [[7, 3, 6, 8, 8, 8]]
    assert tokenizer.decode([7, 3, 6, 8, 8, 8]) == "a cat"


@pytest.mark.parametrize("pad", ["!", "<|endoftext|>"])
def test_from_a_folder_that_transformers_5_writes(tmp_path, pad):
    """It has tokenizer.json alone, with the vocabulary, the merges and the added tokens."""
    from transformers import CLIPTokenizer

    pieces = ["!", "!</w>", "a", "c", "t", "a</w>", "t</w>", "at</w>", "cat</w>", *MARKERS]
    judge = CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=[("a", "t</w>"), ("c", "at</w>")],
        pad_token=pad,
    )
    judge.add_tokens(["<my-cat>", "<Style>"])
    judge.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert len(tokenizer) == len(judge) == len(pieces) + 2
    for text in ("a cat", "a <my-cat>", "<style> cat", ""):
        expected = judge(text, padding="max_length", max_length=77)["input_ids"]
        assert tokenizer(text)[0].tolist() == expected, text


def test_added_tokens_in_any_of_the_files(tmp_path):
    placeholder = {"id": 49408, "content": "<my-cat>"}
    for name, content in {
        "added_tokens.json": {"<my-cat>": 49408},
        "tokenizer_config.json": {"added_tokens_decoder": {"49408": {"content": "<my-cat>"}}},
        "tokenizer.json": {"added_tokens": [placeholder], "model": MODEL},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        if name == "tokenizer.json":
            (folder / "vocab.json").write_text(json.dumps(MODEL["vocab"]))
            (folder / "merges.txt").write_text("#version: 0.2\n")
            placeholder["id"] = len(MODEL["vocab"])
        (folder / name).write_text(json.dumps(content))
        assert "<my-cat>" in Tokenizer.from_folder(folder).encoder


def test_the_padding_where_a_folder_names_none(tmp_path):
    assert Tokenizer.from_folder(tmp_path, 0).pad_token == 0
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "<|endoftext|>"}')
    assert Tokenizer.from_folder(tmp_path, 0).pad_token == 49407


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokenizer.json", "{", "must be JSON"),
        ("tokenizer.json", '{"added_tokens": [{"id": 9, "content": "<a>"}]}', "number on from"),
        ("vocab.json", "[1]", "must hold a CLIP vocabulary"),
        ("vocab.json", "{", "must hold a CLIP vocabulary"),
        ("vocab.json", '{"a": 1, "b": 2}', "ids do not count from 0"),
        ("vocab.json", '{"a": 0, "b": 1}', r"has no <\|startoftext\|>"),
        ("merges.txt", "#version\nxyzzy plugh foo", "must hold a CLIP vocabulary"),
        ("merges.txt", "#version\nxyzzy plugh", "must hold a CLIP vocabulary"),
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": {"5": {"content": "<a>"}}}',
            "must number on from the vocabulary",
        ),
        ("added_tokens.json", '{"<a>": 5}', "must number on from the vocabulary"),
        ("added_tokens.json", '{"<a>": "x", "<b>": 4}', "must number on from the vocabulary"),
        ("tokenizer_config.json", '{"pad_token": ["a"]}', "`pad_token` must be in"),
        ("tokenizer_config.json", "{", "must be JSON"),
        ("tokenizer_config.json", "[]", "must hold a JSON object"),
        ("tokenizer_config.json", '{"pad_token": "nope"}', "`pad_token` must be in the vocabulary"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, name, text, message):
    pieces = {p: i for i, p in enumerate(["a", "a</w>", *MARKERS])}
    (tmp_path / "vocab.json").write_text(json.dumps(pieces))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert Tokenizer.from_folder(tmp_path).encode("a") == [2, 1, 3]
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_folder(tmp_path)
