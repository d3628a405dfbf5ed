"""Scenes composed as latents: the encoder is linear, so things add up there as they do in pictures.

The latents of a thing on a ground are an affine function of the ground's colour, and a thing of
half size that is moved by whole patches has its latents moved by as many places. So every drawing
is encoded once, in each of its colours and sizes, and a batch of scenes costs a few additions: no
picture is drawn twice, and no two batches are the same.

python -m recipes.mini.latents --configuration cpu --work RUN
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from recipes.mini import colours, linear
from recipes.mini.compose import (
    COUNTS,
    FULL,
    HALF,
    RELATIONS,
    SMALL,
    Composer,
    Scene,
    open_composer,
    plural,
    spots,
)  # fmt: skip
from recipes.mini.config import Configuration, arguments
from recipes.mini.linear import Components
from recipes.mini.stream import batches
from sfumato.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)
LAYOUTS = {"full": FULL, "small": SMALL, "half": HALF}
BLACK, WHITE = (np.array(colours.BACKGROUNDS[name], "float32") for name in ("black", "white"))


@dataclass(frozen=True)
class Store:
    """Latents of every drawing on a black ground, and how they change with the ground.

    ``rows``: where the (drawing, colour) is found; ``things`` float16 (R, h, w, C) and ``grounds``
    float16 (N, 3, h, w, C) by layout: what one unit of each of the ground's colours adds, 0 being
    black and 1 white. Of ``half`` h and w are half as many.
    """

    rows: dict[tuple[int, str | None], int]
    things: dict[str, np.ndarray]
    grounds: dict[str, np.ndarray]


def encodings(
    composer: Composer, components: Components, index: int, colour: str | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(layout, latents on black (h, w, C), change to white (3, h, w, C)) of a drawing."""
    rgba, style = composer.painted(index, colour), composer.pack.labels[index].style
    for layout, scale in LAYOUTS.items():
        corner = 0.0 if layout == "half" else (1 - scale) / 2
        thing = [(rgba, corner, corner, scale)]
        black, white = (composer.put(thing, style, ground) for ground in ("black", "white"))
        if layout == "half":
            black, white = (p[: len(p) // 2, : len(p) // 2] for p in (black, white))
        change = (white.astype("float32") - black) / 127.5
        alone = change[None] * np.eye(3, dtype="float32")[:, None, None]  # (3, H, W, 3)
        yield (
            layout,
            components.encode(black[None] / np.float32(127.5) - 1)[0],
            linear.patches(alone, components.side) @ components.matrix,
        )


def make_components(config: Configuration, work: Path) -> None:
    """The linear encoder of the work folder: that of the shipped weights, if these are of the same
    architecture, or a new one of the configuration's pictures."""
    if (work / "components.npz").exists():
        return
    source = batches(partial(open_composer, config, work), 50, 7)
    drawn = islice((images / np.float32(127.5) - 1 for (images,) in source), 30)
    c, encode = config.autoencoder, None
    if config.shipped:
        from recipes.mini.shipped import shipped_encoder

        encode = shipped_encoder(config)
    if encode:
        found = linear.recover(encode, drawn, c.downsampling)
    else:
        found = linear.fit(drawn, c.downsampling, c.latent_channels)
    np.savez(work / "components.npz", **vars(found))


def make_store(config: Configuration, work: Path) -> None:
    """Encode every drawing in every colour that it may have, into the folder ``latents``."""
    composer = open_composer(config, work)
    make_components(config, work)
    components = linear.load(work / "components.npz")
    rows = [(i, c) for i, label in enumerate(composer.pack.labels) for c in palette(composer, i)]
    side, channels = config.size // components.side, components.matrix.shape[1]
    folder = work / "latents"
    folder.mkdir(exist_ok=True)
    arrays = {}
    for layout in LAYOUTS:
        h = side // 2 if layout == "half" else side
        for kind, shape in (("things", (len(rows),)), ("grounds", (len(composer.pack), 3))):
            arrays[kind, layout] = np.lib.format.open_memmap(
                folder / f"{kind}-{layout}.npy", "w+", "float16", (*shape, h, h, channels)
            )
    for row, found in encoded_rows(config, work, rows, components):
        for layout, thing, ground in found:
            arrays["things", layout][row] = thing
            if rows[row][1] is None:
                arrays["grounds", layout][rows[row][0]] = ground
    for array in arrays.values():
        array.flush()
    (folder / "rows.txt").write_text("".join(f"{i} {c or 'own'}\n" for i, c in rows))
    log.info("%d drawings in their colours", len(rows))


def encoded_rows(
    config: Configuration, work: Path, rows: list[tuple[int, str | None]], components: Components
) -> Iterator[tuple[int, list[tuple]]]:
    """(row, what `encodings` gives) of every row, by the configuration's workers."""
    job = Encoder(config, work, components)
    if not config.workers:
        yield from ((row, job(*each)) for row, each in enumerate(rows))
        return
    with ProcessPoolExecutor(config.workers, get_context("spawn")) as pool:
        yield from enumerate(pool.map(job, *zip(*rows, strict=True), chunksize=64))


@dataclass(frozen=True)
class Encoder:
    """`encodings` for worker processes: the drawings are opened where they are needed."""

    config: Configuration
    work: Path
    components: Components

    def __call__(self, index: int, colour: str | None) -> list[tuple]:
        return list(encodings(composer_of(self.config, self.work), self.components, index, colour))


@lru_cache(1)
def composer_of(config: Configuration, work: Path) -> Composer:
    return open_composer(config, work)


def palette(composer: Composer, index: int) -> list[str | None]:
    """A drawing's own colour, and those that it is painted in."""
    label = composer.pack.labels[index]
    return [None, *(c for c in colours.PAINTS if label.paintable and c != label.colour)]


def read_store(work: Path) -> Store:
    folder = work / "latents"
    lines = (line.split() for line in (folder / "rows.txt").read_text().splitlines())
    rows = {(int(i), None if c == "own" else c): row for row, (i, c) in enumerate(lines)}
    things, grounds = (
        {layout: np.load(folder / f"{kind}-{layout}.npy", mmap_mode="r") for layout in LAYOUTS}
        for kind in ("things", "grounds")
    )
    return Store(rows, things, grounds)


class LatentComposer:
    """Draws latents and captions of scenes.

    ``vocabulary`` are the ids of the CLIP tokens that captions have, rising; tokens are given as
    places in it. ``empty`` is the empty caption, (T,).
    """

    def __init__(self, composer: Composer, store: Store, components: Components, length: int):
        self.composer, self.store, self.components, self.length = (
            composer, store, components, length,
        )  # fmt: skip
        self.tokenizer = Tokenizer()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture's latents: (h, w, C)."""
        return self.store.things["full"].shape[1:]

    def batch(self, random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """latents float16 (size, h, w, C) and tokens int32 (size, T)."""
        pairs = [self.sample_one(random) for _ in range(size)]
        latents, captions = zip(*pairs, strict=True)
        tokens = np.stack([self.tokens(caption) for caption in captions])
        return np.stack(latents).astype("float16"), tokens

    def sample_one(self, random: np.random.Generator) -> tuple[np.ndarray, str]:
        scene, index = self.composer.draw_scene(random)
        return self.latents(scene, index, random), self.composer.say(scene, index, random)

    def latents(self, scene: Scene, index: int, random: np.random.Generator) -> np.ndarray:
        """The latents of a scene (h, w, C): what encoding its picture would give."""
        shade = (np.array(colours.BACKGROUNDS[scene.background]) - BLACK) / (WHITE - BLACK)
        shade = shade.astype("float32")
        if scene.count == 1 and not scene.other:
            return self.thing(scene.size or "full", index, scene.colour, shade)
        ground = np.einsum("k,kc->c", shade, self.change) + self.black  # (C,)
        h = self.store.things["full"].shape[1]
        found = np.broadcast_to(ground, (h, h, len(ground))).copy()
        things = [(index, scene.colour)] * scene.count
        if scene.other:
            indices = self.composer.found[scene.other, scene.style]
            things.append((indices[random.integers(len(indices))], None))
        for (each, colour), (left, top) in zip(things, spots(scene), strict=True):
            y, x = round(top * h), round(left * h)
            found[y : y + h // 2, x : x + h // 2] = self.thing("half", each, colour, shade)
        return found

    def thing(self, layout: str, index: int, colour: str | None, shade: np.ndarray) -> np.ndarray:
        """One thing on a ground whose colour is ``shade`` (3,), 0 being black and 1 white."""
        own = colour == self.composer.pack.labels[index].colour
        row = self.store.rows[index, None if own else colour]
        change = self.store.grounds[layout][index].astype("float32")
        return self.store.things[layout][row] + np.tensordot(shade, change, 1)

    @cached_property
    def black(self) -> np.ndarray:
        """The latents of a patch of black ground, (C,)."""
        side = self.components.side
        return self.components.encode(np.broadcast_to(BLACK / 127.5 - 1, (1, side, side, 3)))[
            0, 0, 0
        ]

    @cached_property
    def change(self) -> np.ndarray:
        """What one unit of each of the ground's colours adds to a patch of it, (3, C)."""
        per_channel = self.components.matrix.reshape(-1, 3, self.components.matrix.shape[1]).sum(0)
        return per_channel * ((WHITE - BLACK) / 127.5)[:, None]

    @cached_property
    def vocabulary(self) -> np.ndarray:
        ids = {i for word in words(self.composer) for i in self.tokenizer.encode(word)}
        return np.array(sorted(ids | {int(i) for i in self.tokenizer("", self.length)[0]}))

    @cached_property
    def empty(self) -> np.ndarray:
        return self.tokens("")

    @lru_cache(200_000)  # noqa: B019  a composer lives as long as its process
    def tokens(self, caption: str) -> np.ndarray:
        """A caption as places in the vocabulary, int32 (T,)."""
        ids = np.asarray(self.tokenizer(caption, self.length)[0])
        places = np.searchsorted(self.vocabulary, ids)
        if not np.array_equal(self.vocabulary[np.minimum(places, len(self.vocabulary) - 1)], ids):
            raise ValueError(f"`caption` must be of words of the vocabulary. Received: {caption!r}")
        return places.astype("int32")


def words(composer: Composer) -> list[str]:
    """Every word that captions have, in alphabetical order."""
    phrases = [*composer.styles, *colours.BACKGROUNDS, *colours.PAINTS, *COUNTS, *RELATIONS,
               "a an of on background , small"]  # fmt: skip
    for label in composer.pack.labels:
        for name in (label.name, *label.synonyms):
            phrases += [name, plural(name)]
    return sorted({word for phrase in phrases for word in phrase.split()})


def open_latents(config: Configuration, work: Path) -> LatentComposer:
    """The latent composer of a work folder; its store is made when it is not there."""
    if not (work / "latents" / "rows.txt").exists():
        make_store(config, work)
    components = linear.load(work / "components.npz")
    return LatentComposer(
        open_composer(config, work), read_store(work), components, config.caption_length
    )


def main() -> None:
    config, work = arguments(__doc__)
    open_latents(config, work)


if __name__ == "__main__":
    main()
