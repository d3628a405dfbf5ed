"""A training picture and its caption, composed from the drawings: one pure function of a seed.

What a caption leaves open is the plainest: an unnamed style is the first one, an unnamed background
is white, and an unnamed colour is the thing's own. What it names is true: colours, backgrounds,
styles, counts, sizes and relations are chosen first, then painted.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.mini import colours, pack
from recipes.mini.config import Configuration
from recipes.mini.looks import SQUARES
from recipes.mini.pack import Label, Pack

RELATIONS = {
    "next to": ((0.0, 0.25), (0.5, 0.25)),
    "above": ((0.25, 0.0), (0.25, 0.5)),
    "below": ((0.25, 0.5), (0.25, 0.0)),
}  # left and top of the first and the second thing, in pictures
COUNTS = {"two": 2, "three": 3, "four": 4}
FULL, SMALL, HALF = 0.92, 0.45, 0.5  # how large a thing is: alone, alone and small, among others
SYNONYMS = 0.3  # the share of captions that call a thing by one of its other names, if it has any

PLURAL = ("scissors", "grapes", "glasses", "eyeglasses", "sunglasses", "jeans", "trousers", "pants",
          "headphones", "fries", "chips", "pancakes", "flowers", "cherries", "peanuts")  # fmt: skip
MASS = ("bread", "broccoli", "garlic", "corn", "maize", "popcorn", "sushi", "bacon", "cheese",
        "chocolate", "candy", "honey", "milk", "coffee", "beer", "wine", "lightning", "luggage",
        "meat", "yarn", "art")  # fmt: skip
IRREGULAR = {"mouse": "mice", "tooth": "teeth", "leaf": "leaves", "wolf": "wolves",
             "loaf": "loaves", "scarf": "scarves", "knife": "knives", "dice": "dice",
             "die": "dice", "fish": "fish", "sheep": "sheep", "deer": "deer",
             "reindeer": "reindeer", "shrimp": "shrimp", "tomato": "tomatoes",
             "potato": "potatoes", "mango": "mangoes"}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What a picture shows, before it is put into words: the key of its caption."""

    name: str
    style: str
    colour: str | None = None
    """What the thing is painted in; None: its own colour."""
    background: str = "white"
    other: str = ""
    """A second thing, and how the first one stands to it."""
    relation: str = ""
    count: int = 1
    size: str = ""


def withheld(*words: str, share: float = 0.1) -> bool:
    """Whether a combination is kept out of the training, for the evaluation; always the same."""
    digest = hashlib.sha256("|".join(words).encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


class Composer:
    """Draws scenes, pictures and captions from a pack of drawings.

    The first style of ``styles`` is the one that a caption without a style means. The cells
    (thing, style) of the others, and the painted colours of things, that `withheld` chooses are
    never drawn: the evaluation asks for them.
    """

    def __init__(self, drawings: Pack, styles: tuple[str, ...], scenes: float = 0.0) -> None:
        self.pack, self.styles, self.scenes = drawings, styles, scenes

    @cached_property
    def found(self) -> dict[tuple[str, str], list[int]]:
        """The drawings of every cell (name, style)."""
        found = defaultdict(list)
        for index, label in enumerate(self.pack.labels):
            found[label.name, label.style].append(index)
        return dict(found)

    @cached_property
    def cells(self) -> list[tuple[str, str]]:
        """The cells that the training sees."""
        return [cell for cell in self.found if not self.hidden(*cell)]

    @cached_property
    def names(self) -> list[str]:
        """The things that the training sees."""
        return sorted({name for name, _ in self.cells})

    @cached_property
    def looks(self) -> dict[str, list[str]]:
        """In which styles the training sees a thing."""
        cells = set(self.cells)
        return {n: [s for s in self.styles if (n, s) in cells] for n in self.names}

    def hidden(self, name: str, style: str) -> bool:
        share = 0.1 * len(self.styles) / max(1, len(self.styles) - 1)
        return style != self.styles[0] and withheld(name, style, share=share)

    def choose(self, scene: Scene, random: np.random.Generator) -> int:
        """A drawing for the scene: of its own colour, else one that can be painted."""
        indices = self.found[scene.name, scene.style]
        if scene.colour:
            labels = self.pack.labels
            own = [i for i in indices if labels[i].colour == scene.colour]
            indices = own or [i for i in indices if labels[i].paintable]
        return indices[random.integers(len(indices))]

    def draw_scene(self, random: np.random.Generator) -> tuple[Scene, int]:
        """A random scene of the training set, and the index of the drawing of its thing."""
        name = self.names[random.integers(len(self.names))]
        styles = self.looks[name]
        style = styles[random.integers(len(styles))]
        scene = Scene(name, style)
        index = self.choose(scene, random)
        label = self.pack.labels[index]
        if label.paintable and random.random() < 0.55:
            seen = self.paints(name, label.colour)
            scene = replace(scene, colour=seen[random.integers(len(seen))])
        if random.random() < 0.4:
            shown = scene.colour or label.colour
            free = [c for c in colours.BACKGROUNDS if c != shown]
            scene = replace(scene, background=free[random.integers(len(free))])
        if random.random() < self.scenes:
            scene = self.populate(scene, random)
        return scene, index

    def paints(self, name: str, own: str | None) -> list[str]:
        """The colours in which the training sees a thing that can be painted."""
        return [c for c in colours.PAINTS if c == own or not withheld(name, c)]

    def populate(self, scene: Scene, random: np.random.Generator) -> Scene:
        """The scene with more than one thing, or with a small one."""
        kind = random.random()
        if kind < 0.35:
            return replace(scene, count=int(random.integers(2, 5)))
        if kind < 0.45:
            return replace(scene, size="small")
        others = self.partners(scene.name, scene.style)
        if not others:
            return scene
        relation = tuple(RELATIONS)[random.integers(len(RELATIONS))]
        return replace(scene, other=others[random.integers(len(others))], relation=relation)

    @lru_cache(None)  # noqa: B019  a composer lives as long as its process
    def partners(self, name: str, style: str) -> list[str]:
        """What the training shows together with a thing."""
        others = (n for n, s in self.cells if s == style and n != name)
        return [n for n in others if not withheld("pair", *sorted((n, name)))]

    def paint(self, scene: Scene, index: int, random: np.random.Generator) -> np.ndarray:
        """The picture of a scene, uint8 (size, size, 3)."""
        rgba = self.painted(index, scene.colour)
        return self.put(self.arrange(scene, rgba, random), scene.style, scene.background)

    def painted(self, index: int, colour: str | None) -> np.ndarray:
        """A drawing in its own colour or in another one."""
        rgba = self.pack.drawings[index]
        own = colour is None or colour == self.pack.labels[index].colour
        return rgba if own else colours.paint(rgba, colour)

    def put(self, things: list[tuple], style: str, background: str) -> np.ndarray:
        """Things as `arrange` gives them on a ground, uint8 (size, size, 3)."""
        coarse = max(2, self.pack.size // SQUARES) if style == "pixel art" else 1
        size = self.pack.size // coarse
        canvas = Image.new("RGB", (size, size), colours.BACKGROUNDS[background])
        for thing, left, top, scale in things:
            place(canvas, thing, left, top, scale, hard=coarse > 1)
        return np.asarray(canvas).repeat(coarse, 0).repeat(coarse, 1)

    def arrange(self, scene: Scene, rgba: np.ndarray, random: np.random.Generator) -> list[tuple]:
        """(drawing, left, top, scale) of every thing, in units of the picture."""
        things = [rgba] * max(1, scene.count)
        if scene.other:
            indices = self.found[scene.other, scene.style]
            things = [rgba, self.pack.drawings[indices[random.integers(len(indices))]]]
        if len(things) > 1:
            return [(t, *spot, HALF) for t, spot in zip(things, spots(scene), strict=True)]
        scale = SMALL if scene.size == "small" else FULL
        return [(rgba, (1 - scale) / 2, (1 - scale) / 2, scale)]

    def sample(self, random: np.random.Generator) -> tuple[np.ndarray, str]:
        """A picture uint8 (size, size, 3) and a caption that is true of it."""
        scene, index = self.draw_scene(random)
        picture = self.paint(scene, index, random)
        return picture, self.say(scene, index, random)

    def batch(self, random: np.random.Generator, size: int) -> tuple[np.ndarray]:
        """Pictures uint8 (size, H, W, 3)."""
        return (np.stack([self.sample(random)[0] for _ in range(size)]),)

    def say(self, scene: Scene, index: int, random: np.random.Generator) -> str:
        """A caption of the scene, its things by one of their names."""
        name, other = (self.call(each, random) for each in (scene.name, scene.other))
        said = replace(scene, name=name, other=other)
        return caption(said, self.pack.labels[index], self.styles[0], random)

    @cached_property
    def synonyms(self) -> dict[str, tuple[str, ...]]:
        """Other names of every thing."""
        return {label.name: label.synonyms for label in self.pack.labels}

    def call(self, name: str, random: np.random.Generator) -> str:
        """The thing by its name, or by another one that means the same."""
        others = self.synonyms.get(name, ())
        if not others or random.random() > SYNONYMS:
            return name
        return others[random.integers(len(others))]


def spots(scene: Scene) -> tuple[tuple[float, float], ...]:
    """Left and top, in pictures, of every thing of a scene of several."""
    if scene.other:
        return RELATIONS[scene.relation]
    corners = ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5))
    return ((0, 0.25), (0.5, 0.25)) if scene.count == 2 else corners[: scene.count]


def open_composer(config: Configuration, work: Path) -> Composer:
    """The composer of a configuration, on the drawings of its work folder."""
    drawings = pack.read(work / "drawings.npz")
    return Composer(drawings, config.styles, config.scenes)


def place(
    canvas: Image.Image, rgba: np.ndarray, left: float, top: float, scale: float, hard: bool
) -> None:
    """Paste a drawing onto the canvas, scaled with premultiplied alpha; ``hard``: of every pixel
    all or nothing."""
    side = max(1, round(canvas.width * scale))
    filtered = Image.Resampling.BOX if hard else Image.Resampling.HAMMING
    thing = Image.fromarray(rgba).convert("RGBa").resize((side, side), filtered)
    spot = (round(canvas.width * left), round(canvas.height * top))
    thing = thing.convert("RGBA")
    mask = thing.getchannel("A")
    canvas.paste(thing, spot, mask.point(lambda a: 255 * (a > 110)) if hard else mask)


def phrase(scene: Scene, colour: str | None = None, article: bool = True) -> str:
    """The thing in words: "a red apple", "three red apples", "a small fox next to a tree"."""
    words = " ".join(word for word in (scene.size, colour or scene.colour, scene.name) if word)
    if scene.count > 1:
        number = next(word for word, n in COUNTS.items() if n == scene.count)
        return f"{number} {plural(words)}"
    words = with_article(words) if article else words
    if scene.other:
        words = f"{words} {scene.relation} {with_article(scene.other)}"
    return words


def with_article(words: str) -> str:
    head = words.split(" of ")[0].split()[-1]
    if head in PLURAL or head in MASS:
        return words
    return f"{'an' if words[0] in 'aeiou' and not words.startswith(VOICED) else 'a'} {words}"


VOICED = ("uni", "ufo", "eu")


def plural(words: str) -> str:
    """More than one of it: "cups of coffee", "mice", "cherries"."""
    words, of, rest = words.partition(" of ")
    *before, head = words.split(" ")
    return " ".join([*before, plural_of(head)]) + of + rest


def plural_of(word: str) -> str:
    if word in PLURAL or word in MASS:
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def prompt(scene: Scene) -> str:
    """The plain caption of a scene: what the evaluation asks the model."""
    words = f"{with_article(scene.style)} of {phrase(scene)}"
    if scene.background == "white":
        return words
    return f"{words} on {with_article(scene.background)} background"


def caption(scene: Scene, label: Label, default: str, random: np.random.Generator) -> str:
    """One of the many ways to say what a scene shows."""
    own = label.colour if scene.colour is None and random.random() < 0.3 else None
    thing = phrase(scene, own, article=random.random() < 0.8)
    unnamed = 0.5 if scene.style == default else 0.0
    form = random.random()
    if random.random() > unnamed:
        style = scene.style
        thing = f"{with_article(style)} of {thing}" if form < 0.7 else f"{thing}, {style}"
    if scene.background != "white" or random.random() < 0.1:
        ground = f"{scene.background} background"
        thing = f"{thing} on {with_article(ground)}" if form < 0.8 else f"{thing}, {ground}"
    return thing
