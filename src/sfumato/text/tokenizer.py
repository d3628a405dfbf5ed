"""The tokenizer of CLIP's text encoders: text to byte-pair ids.

Radford et al. 2021, arXiv 2103.00020, with the byte-level pairs of Radford et al. 2019 (GPT-2).

Ids are those of `transformers.CLIPTokenizer`, with two differences on purpose. A marker that a user
types, such as "<|endoftext|>", is plain text and cannot end the prompt. And no text is read as the
padding token: where its id is 0, in Stable Diffusion 2.x and XL, `transformers` reads every "!" as
padding, but those models were trained to read it as a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import normalizers, pre_tokenizers

from sfumato._files import read_json, read_pad_token
from sfumato._numbers import whole_number
from sfumato.text import vocabulary
from sfumato.text.vocabulary import END_OF_TEXT, START_OF_TEXT, WORD_END, Vocabulary

# A word: a contraction's ending, letters, ONE digit, or a run of anything else but spaces.
_WORD = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


class Tokenizer:
    """The tokenizer: from prompts to token ids and back.

    Args:
        pad_token: id that fills a row after its end: that of the end marker, the default, for
            Stable Diffusion 1.x and the first text encoder of XL; 0 for 2.x and the second text
            encoder of XL.

    Example:
        >>> tokenizer = Tokenizer()
        >>> tokenizer.encode("A photograph of an astronaut")
        [49406, 320, 8853, 539, 550, 18376, 49407]
        >>> tokenizer(["a cat", "a dog"]).shape
        (2, 77)
    """

    def __init__(self, pad_token: int | None = None) -> None:
        words = vocabulary.packaged()
        self._build(words, words.ids[END_OF_TEXT] if pad_token is None else pad_token)

    @classmethod
    def from_folder(cls, folder: str | Path, pad_token: int | None = None) -> Tokenizer:
        """Make the tokenizer that the `tokenizer` folder of a diffusers model describes.

        It is read from `tokenizer_config.json` and `special_tokens_map.json` (the padding token),
        `vocab.json` with `merges.txt`, or `tokenizer.json`, and `added_tokens.json` (placeholder
        tokens, which the other two JSON files may have as well). What is missing is as in Stable
        Diffusion 1.x.

        Args:
            folder: of the tokenizer.
            pad_token: the id of the padding token in CLIP's vocabulary where the folder names none;
                default: that of the end marker.

        Raises:
            ValueError: a file is there but does not say what it should.
        """
        folder = Path(folder)
        words = vocabulary.from_folder(folder)
        tokenizer = cls.__new__(cls)
        if pad_token is None or len(words.ids) != vocabulary.SIZE:
            pad_token = words.ids[END_OF_TEXT]
        tokenizer._build(words, pad_token)

        # Placeholder tokens, whose ids must follow the vocabulary's
        added = _added_tokens(folder)
        tokenizer.add_tokens(sorted(added, key=lambda token: str(added[token]).zfill(20)))
        ids = tokenizer.encoder
        if wrong := {token: index for token, index in added.items() if ids.get(token) != index}:
            raise ValueError(
                f"Added tokens must number on from the vocabulary, which has {len(words.ids)}. "
                f"Received: {wrong} in `{folder}`"
            )

        # The padding token
        pad = read_pad_token(folder)
        if pad is not None:
            if not isinstance(pad, str) or pad not in ids:
                raise ValueError(f"`pad_token` must be in the vocabulary. Received: {pad!r}")
            tokenizer.pad_token = ids[pad]
        return tokenizer

    def _build(self, words: Vocabulary, pad_token: int) -> None:
        self.pad_token = whole_number("pad_token", pad_token, 0, len(words.ids) - 1)
        self._words = words
        self._added: list[str] = []

        self._backend = tokenizers.Tokenizer(words.bpe)
        self._backend.normalizer = normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
                normalizers.Lowercase(),
            ]
        )
        self._backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(_WORD), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )

    @property
    def start_of_text(self) -> int:
        """The id of the marker that every row begins with."""
        return self._words.ids[START_OF_TEXT]

    @property
    def end_of_text(self) -> int:
        """The id of the marker that ends the prompt; the text encoder pools at it."""
        return self._words.ids[END_OF_TEXT]

    @property
    def encoder(self) -> dict[str, int]:
        """Every piece of text -> its id, placeholder tokens included."""
        return self._words.ids | {
            token: len(self._words.ids) + i for i, token in enumerate(self._added)
        }

    @property
    def added(self) -> list[str]:
        """The placeholder tokens, in the order of their ids."""
        return [*self._added]

    @property
    def vocab(self) -> list[str]:
        """Every piece of text at its id, placeholder tokens included."""
        return self._words.pieces + self._added

    def __len__(self) -> int:
        return len(self._words.ids) + len(self._added)

    def encode(self, text: str) -> list[int]:
        """Token ids of one text of any length, between its two markers.

        Any string is allowed. A lone surrogate, which is no text, counts as U+FFFD.
        """
        if not isinstance(text, str):
            raise TypeError(f"`text` must be a string. Received: {type(text).__name__}")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        ids = self._backend.encode(text, add_special_tokens=False).ids
        return [self.start_of_text, *ids, self.end_of_text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of one row of ids, in lower case with a space after each word.

        Markers and padding are left out.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        pieces = self.vocab
        character_bytes = vocabulary.character_bytes()

        text = bytearray()
        for index in map(int, ids):
            if index == self.end_of_text:
                break
            if not 0 <= index < len(pieces):
                last = len(pieces) - 1
                raise ValueError(f"`ids` must lie between 0 and {last}. Received: {index}")
            if index >= len(self._words.ids):
                text += pieces[index].encode() + b" "
            elif index != self.start_of_text:
                word = pieces[index].removesuffix(WORD_END)
                text += bytes(character_bytes[character] for character in word)
                text += b" " * pieces[index].endswith(WORD_END)
        return text.decode("utf-8", "replace").strip()

    def __call__(self, texts: str | Sequence[str], length: int = 77) -> np.ndarray:
        """Token ids of a batch: int32 (B, length), each row padded or cut to that length.

        Warns (UserWarning) about a text that is too long and names the part that was cut off.

        Raises:
            ValueError: `length` leaves no room for the two markers.
        """
        length = whole_number("length", length, 2)
        texts = [texts] if isinstance(texts, str) else texts
        batch = np.full((len(texts), length), self.pad_token, np.int32)  # (B, T)
        for row, text in zip(batch, texts, strict=True):
            ids = self.encode(text)
            if len(ids) > length:
                self._warn(ids, length)
                ids = [*ids[: length - 1], self.end_of_text]
            row[: len(ids)] = ids
        return batch

    def _warn(self, ids: list[int], length: int) -> None:
        cut = self.decode(ids[length - 1 : -1])
        warnings.warn(
            f"The prompt has {len(ids) - 2} tokens and the text encoder reads {length - 2}. "
            f"This part was cut off: {cut if len(cut) <= 500 else cut[:500] + ' ...'!r}",
            stacklevel=3,
        )

    def add_tokens(self, tokens: str | Sequence[str]) -> int:
        """Add placeholder tokens such as "<my-cat>", whose embeddings come from textual inversion.

        New ids follow the vocabulary. A placeholder is found inside any text, with or without
        spaces around it. Upper and lower case are the same, as in all text. A token that is in the
        vocabulary already changes nothing.

        Returns:
            The number of new tokens. The token embedding needs as many rows more.
        """
        lowered = {piece.lower() for piece in self._added}
        before = len(self._added)
        for token in [tokens] if isinstance(tokens, str) else tokens:
            if not token.strip():
                raise ValueError(f"`tokens` must not be empty. Received: {token!r}")
            if token.lower() in lowered or token.lower() in self._words.ids:
                continue
            # normalized=True: text and placeholder are both lower-cased before they are compared
            self._backend.add_tokens([tokenizers.AddedToken(token, normalized=True)])
            self._added.append(token)
            lowered.add(token.lower())
        return len(self._added) - before


def _added_tokens(folder: Path) -> dict[str, Any]:
    """The tokens beyond the vocabulary, and their ids, as the files of a folder have them."""
    added = read_json(folder / "added_tokens.json")
    said = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder")
    for index, token in (said if isinstance(said, dict) else {}).items():
        if isinstance(token, dict) and str(index).isdecimal():
            added.setdefault(str(token.get("content")), int(index))
    said = read_json(folder / "tokenizer.json", vocabulary.MAX_BYTES).get("added_tokens")
    for token in said if isinstance(said, list) else []:
        if isinstance(token, dict):
            added.setdefault(str(token.get("content")), token.get("id"))
    return added
