"""Stage 2b: pictures as latents and captions as tokens, made once and drawn from many times.

python -m recipes.mini.bank --configuration cpu --work RUN
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from recipes.mini.autoencoder import trained_encoder
from recipes.mini.compose import open_composer
from recipes.mini.config import Configuration
from recipes.mini.stream import batches
from sfumato.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bank:
    """latents float16 (N, h, w, C) of variance one, tokens (N, T) as rows of ``vocabulary``.

    ``vocabulary`` are the ids of the CLIP tokens that occur, rising; ``empty`` are the tokens of
    the empty caption, (T,), as rows too.
    """

    latents: np.ndarray
    tokens: np.ndarray
    vocabulary: np.ndarray
    empty: np.ndarray


def write_bank(path: Path, latents: np.ndarray, tokens: np.ndarray, empty: np.ndarray) -> Bank:
    vocabulary = np.unique(np.concatenate([tokens.ravel(), empty.ravel()]))
    rows = np.searchsorted(vocabulary, tokens).astype("uint16")
    bank = Bank(latents.astype("float16"), rows, vocabulary, np.searchsorted(vocabulary, empty))
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **vars(bank))
    partial.replace(path)
    return bank


def read_bank(path: Path) -> Bank:
    with np.load(path) as file:
        return Bank(**{name: file[name] for name in file.files})


def make_bank(config: Configuration, work: Path) -> Bank:
    """Compose, encode and keep ``config.bank`` pictures."""
    encode = trained_encoder(config, work)
    composer, tokenize = open_composer(config, work), Tokenizer()
    length, size = config.caption_length, min(100, config.bank)
    latents, tokens = [], []
    stream = batches(composer, size, 1000, config.workers)
    for images, captions in islice(stream, -(-config.bank // size)):
        latents.append(np.asarray(encode(images / np.float32(127.5) - 1), "float16"))
        tokens.append(np.asarray(tokenize(captions, length)))
    empty = np.asarray(tokenize("", length))[0]
    bank = write_bank(work / "bank.npz", np.concatenate(latents), np.concatenate(tokens), empty)
    log.info("%d pictures, %d words", len(bank.latents), len(bank.vocabulary))
    return bank
