"""The page of all fields of a request, from their declarations: `python docs/make_reference.py`."""

from __future__ import annotations

from pathlib import Path

from sfumato.request import Request
from sfumato.request.fields import Spec, specs
from sfumato.request.room_kinds import Name

PAGE = Path(__file__).with_name("request.md")

HEAD = """\
<!-- Made by make_reference.py: change that file, or the declarations, not this one. -->

# A request, field by field

`Request` says which pictures are wanted. Every field has one name everywhere:

| where | how |
|---|---|
| Python | `model.generate("a red apple", guidance=3, sampler_options={"eta": 0.5})` |
| the same as a value | `Request(prompt="a red apple", guidance=3, sampler_options={"eta": 0.5})` |
| command line | `sfumato generate "a red apple" --guidance 3 --sampler-options eta=0.5` |
| JSON | `{"prompt": "a red apple", "guidance": 3, "sampler_options": {"eta": 0.5}}` |
| a picture's recipe | `CFG scale: 3, Sampler options: eta=0.5`, in A1111's words |

- What is left out is the model's choice. `request.completed(model.model)` makes all choices and
  refuses what cannot be; `picture.request` is such a request.
- A value out of its range is a `RequestError`, a `ValueError` that names the field.
- Numbers may be of any type, such as NumPy's. A whole number may be 20.0; 3.7 is refused, not cut.
- Arrays of pictures are 0..255 whatever their type. Floats that all lie in 0..1, as a picture has
  that was divided by 255, are refused. Masks are 0..1, and 0..255 as uint8 or as files.
  [From pictures](pictures.md) has more.
- `request.to_json()` and `Request.from_json(values)` go to JSON and back. Pictures are data URLs of
  PNG files there. Names of files are refused, so that JSON of strangers reads no file.
- `request.recipe()` and `Request.from_recipe(recipe, **changes)` go to a recipe and back. A recipe
  has the size as `Size: 512x768`. It has neither pictures nor their number, and no wildcards; of a
  picture and of [learned words](embeddings.md) it has names and digests.
- The words may have a grammar of their own: [Prompts](prompts.md).
"""

NOTED = "Noted by the request itself"

COLUMNS = """\
| field | what it is | values | default | in a recipe |
|---|---|---|---|---|
"""


def make_page() -> str:
    """The page: a table for each group of fields."""
    groups: dict[str, list[str]] = {}
    for name, spec in specs(Request).items():
        groups.setdefault(spec.group, []).append(row(name, spec))
    titles = {group: group.capitalize() or NOTED for group in groups}
    tables = [f"## {titles[group]}\n\n{COLUMNS}{''.join(groups[group])}" for group in groups]
    return "\n".join([HEAD, *tables])


def row(name: str, spec: Spec) -> str:
    """A line of the table; the help ends with the default in square brackets."""
    what, _, default = spec.help.removesuffix("]").partition(" [")
    kind = spec.kind
    values = f"a [{kind.table}](samplers.md)" if isinstance(kind, Name) else kind.must[3:]
    names = ", ".join(f"`{word}`" for word in (name, *spec.flags))
    return f"| {names} | {what} | {values} | {default} | {spec.key} |\n"


if __name__ == "__main__":
    PAGE.write_text(make_page(), "utf-8")
