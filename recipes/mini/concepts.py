"""What the small configuration can draw: a curated table of emoji, one row for one thing.

A row is ``name: code points``. Where several emoji show the same thing (a red and a green apple),
the name has several. No people: a hundred things drawn well leave no room for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

TABLE = """
apple: 1f34e 1f34f
pear: 1f350
orange: 1f34a
lemon: 1f34b
banana: 1f34c
pineapple: 1f34d
strawberry: 1f353
cherry: 1f352
watermelon: 1f349
peach: 1f351
tomato: 1f345
carrot: 1f955
mushroom: 1f344
avocado: 1f951
broccoli: 1f966
cheese: 1f9c0
hamburger: 1f354
pizza: 1f355
hot dog: 1f32d
egg: 1f95a
ice cream: 1f366
donut: 1f369
cookie: 1f36a
cupcake: 1f9c1
cup of coffee: 2615
teapot: 1fad6
cat: 1f431
dog: 1f436
fox: 1f98a
lion: 1f981
bear: 1f43b
panda: 1f43c
rabbit: 1f430
mouse: 1f42d
pig: 1f437
cow: 1f42e
monkey: 1f435
frog: 1f438
horse: 1f40e
elephant: 1f418
giraffe: 1f992
penguin: 1f427
owl: 1f989
bird: 1f426
duck: 1f986
fish: 1f41f
whale: 1f433
shark: 1f988
octopus: 1f419
crab: 1f980
turtle: 1f422
snail: 1f40c
butterfly: 1f98b
bee: 1f41d
ladybug: 1f41e
spider: 1f577
dinosaur: 1f996
unicorn: 1f984
car: 1f697
bus: 1f68c
fire truck: 1f692
truck: 1f69a
tractor: 1f69c
train: 1f682
bicycle: 1f6b2
airplane: 2708
helicopter: 1f681
rocket: 1f680
sailboat: 26f5
flying saucer: 1f6f8
tree: 1f333
pine tree: 1f332
palm tree: 1f334
cactus: 1f335
rose: 1f339
tulip: 1f337
sunflower: 1f33b
maple leaf: 1f341
sun: 2600
moon: 1f319
star: 2b50
cloud: 2601
rainbow: 1f308
snowflake: 2744
snowman: 26c4
fire: 1f525
volcano: 1f30b
house: 1f3e0
castle: 1f3f0
church: 26ea
tent: 26fa
soccer ball: 26bd
basketball: 1f3c0
balloon: 1f388
gift: 1f381
trophy: 1f3c6
crown: 1f451
guitar: 1f3b8
drum: 1f941
trumpet: 1f3ba
umbrella: 2602
alarm clock: 23f0
light bulb: 1f4a1
key: 1f511
book: 1f4d5 1f4d7 1f4d8 1f4d9
pencil: 270f
camera: 1f4f7
telephone: 260e
television: 1f4fa
laptop: 1f4bb
scissors: 2702
hammer: 1f528
bell: 1f514
heart: 2764 1f9e1 1f49b 1f49a 1f499 1f49c
diamond: 1f48e
hat: 1f3a9
t-shirt: 1f455
dress: 1f457
shoe: 1f45f
robot: 1f916
ghost: 1f47b
pumpkin: 1f383
teddy bear: 1f9f8
chair: 1fa91
candle: 1f56f
anchor: 2693
kite: 1fa81
"""

GROUPS = ("Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects")
DULL = ("clock-face", "o’clock", "thirty", "chart", "inbox", "outbox", "card index", "symbol")


@dataclass(frozen=True)
class Concept:
    """A thing that can be drawn: its name, its words and the emoji that show it."""

    name: str
    codes: tuple[str, ...]
    keywords: tuple[str, ...] = ()


def curated() -> list[Concept]:
    """The table above."""
    rows = [line.split(":") for line in TABLE.strip().splitlines()]
    return [Concept(name.strip(), tuple(codes.split())) for name, codes in rows]


def everything(emoji: Path, keywords: Path) -> list[Concept]:
    """Every thing of Unicode's emoji but people, symbols and flags; the curated names first.

    ``emoji`` is unicode-emoji-json's ``data-by-emoji.json``, ``keywords`` emojilib's table.
    """
    found = {code: concept for concept in curated() for code in concept.codes}
    words = json.loads(keywords.read_text("utf-8"))
    concepts = {concept.name: concept for concept in found.values()}
    for character, row in json.loads(emoji.read_text("utf-8")).items():
        code = code_of(character)
        dull = any(word in row["name"] for word in DULL)
        if row["group"] not in GROUPS or dull or row["skin_tone_support"] or code in found:
            continue
        about = tuple(word.replace("_", " ") for word in words.get(character, [])[1:8])
        name = row["name"].lower()
        concepts.setdefault(name, Concept(name, (code,), tuple(w for w in about if w.isascii())))
    return list(concepts.values())


def code_of(character: str) -> str:
    """Code points in hexadecimal, joined by hyphens, without the variation selector."""
    return "-".join(f"{ord(c):x}" for c in character if c != "\ufe0f")
