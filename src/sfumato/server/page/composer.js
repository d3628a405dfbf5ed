/** The form: the words first, all else folded away, made from what the server says it can do. */

import { button, byId, fill, h } from "./dom.js";
import { isWritable, makeField, titleOf } from "./fields.js";
import { isShown, makeShown } from "./shown.js";

/** @typedef {import("./fields.js").Field} Field */

const OWN = ["prompt", "model", "width", "height", "count", "image", "mask"];
const USUAL = ["negative_prompt", "seed", "steps", "guidance", "sampler", "schedule"];
export const FROM_PICTURE = "from a picture";
const COUNTS = [1, 2, 3, 4, 6, 8, 9, 12, 16];
/** @type {Record<string, number>} width and height of a shape: their ratio */
const SHAPES = { square: 1, portrait: 2 / 3, landscape: 3 / 2 };

export class Composer {
  /**
   * @param {any} facts the server's capabilities
   * @param {import("./draft.js").Draft} draft
   * @param {() => Promise<void>} ask
   */
  constructor(facts, draft, ask) {
    this.facts = facts;
    this.draft = draft;
    /** @type {Map<string, Field>} */
    this.fields = new Map();
    this.schema = facts.request.properties;
    this.prompt = byId("prompt");
    this.model = byId("model");
    this.shape = byId("shape");
    this.count = byId("count");
    /** @type {Element[]} further folds of the options */
    this.folds = [];

    byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      ask();
    });
    this.prompt.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      ask();
    });
    this.prompt.addEventListener("input", () => draft.set("prompt", this.prompt.value));
    this.model.addEventListener("change", () => draft.change({ model: this.model.value }));
    this.count.addEventListener("change", () => draft.set("count", Number(this.count.value)));
    this.shape.addEventListener("change", () => this.reshape());
    byId("more").addEventListener("click", () => this.unfold(byId("options").hidden));
    draft.listen((name) => (name === null ? this.render() : this.note()));
    this.render();
  }

  /** What the server says of the chosen model. */
  get own() {
    const { models } = this.facts;
    const named = models.find((/** @type {any} */ model) => model.name === this.draft.values.model);
    return named ?? models.find((/** @type {any} */ model) => model.default) ?? models[0];
  }

  /** Show or fold the options. */
  unfold(isOpen = true) {
    byId("options").hidden = !isOpen;
    byId("more").setAttribute("aria-expanded", String(isOpen));
  }

  /**
   * Say what is wrong, at the field where there is one.
   *
   * @param {string} text
   * @param {string | null} [name]
   */
  complain(text, name = null) {
    for (const field of this.fields.values()) field.complain("");
    byId("trouble").textContent = text;
    const field = name === null ? undefined : this.fields.get(name);
    if (!field) return;
    field.complain(text);
    const fold = field.element.closest("details");
    if (fold) fold.open = true;
    if (byId("options").contains(field.element)) this.unfold();
  }

  // Within

  render() {
    const { values } = this.draft;
    this.prompt.value = values.prompt ?? "";
    const models = this.facts.models.map((/** @type {any} */ model) =>
      h("option", { value: model.name }, model.name),
    );
    fill(this.model, ...models);
    this.model.value = this.own.name;

    const most = this.facts.limits.max_count;
    const counts = new Set([...COUNTS.filter((count) => count <= most), values.count ?? 1]);
    const told = (/** @type {number} */ count) => (count === 1 ? "1 picture" : `${count} pictures`);
    fill(
      this.count,
      ...[...counts].sort((a, b) => a - b).map((each) => h("option", { value: each }, told(each))),
    );
    this.count.value = String(values.count ?? 1);

    const names = [...Object.keys(SHAPES), "own"];
    const labels = names.map((name) => (name === "own" ? "Own size" : titleOf(name)));
    fill(this.shape, ...names.map((name, i) => h("option", { value: name }, labels[i])));
    this.shape.value = this.shapeOf(values.width, values.height);
    this.renderFields();
    this.note();
  }

  renderFields() {
    this.fields.clear();
    const isOffered = (/** @type {string} */ name) =>
      !OWN.includes(name) && (isWritable(this.schema[name]) || this.hasFiles(name));
    const names = Object.keys(this.schema).filter(isOffered);
    const isOfPicture = (/** @type {string} */ name) =>
      this.schema[name]["x-group"] === FROM_PICTURE;
    const rest = names.filter((name) => !USUAL.includes(name) && !isOfPicture(name));
    const groups = [...new Set(rest.map((name) => this.schema[name]["x-group"]))];
    const open = new Set(
      [...document.querySelectorAll("#options details[open]")].map((each) => each.id),
    );
    const folds = groups.map((group, i) => {
      const id = `group-${i}`;
      const fields = rest.filter((name) => this.schema[name]["x-group"] === group);
      const content = h(
        "div",
        { class: "fields" },
        ...fields.map((name) => this.field(name).element),
      );
      return h("details", { id, open: open.has(id) }, h("summary", {}, titleOf(group)), content);
    });
    fill(
      byId("options"),
      h(
        "div",
        { class: "fields" },
        ...USUAL.filter((name) => names.includes(name)).map((n) => this.field(n).element),
      ),
      ...folds,
      ...this.folds,
      button("Reset the options", () => this.reset(), { id: "reset" }),
    );
    fill(byId("own-size"), ...["width", "height"].map((name) => this.field(name).element));
    for (const name of names.filter(isOfPicture)) this.field(name);
  }

  /**
   * The control of a field, set to the draft's value.
   *
   * @param {string} name
   * @returns {Field}
   */
  field(name) {
    const known = this.fields.get(name);
    if (known) return known;
    const listed = this.facts[name.endsWith("s") ? name : `${name}s`];
    const rows = Array.isArray(listed)
      ? listed.map((row) => (typeof row === "string" ? { name: row } : row))
      : undefined;
    const size = name === "width" || name === "height" ? this.own.size : undefined;
    const own = this.own[name] ?? size;
    const open = own === undefined || own === null ? undefined : String(own);
    const more = { rows, open, make: this.hasFiles(name) ? this.shown(name) : undefined };
    const made = makeField(name, this.schema[name], (value) => this.draft.set(name, value), more);
    made.set(this.draft.values[name]);
    this.fields.set(name, made);
    return made;
  }

  /**
   * Whether a field is of networks that are shown pictures, and the server has any.
   *
   * @param {string} name
   */
  hasFiles(name) {
    const isAny = this.facts[name]?.length && this.facts.limits.max_controls;
    return Boolean(isAny) && isShown(this.schema[name]);
  }

  /**
   * The maker of their control.
   *
   * @param {string} name
   * @returns {typeof import("./controls.js").makeControl}
   */
  shown(name) {
    return (schema, given, _, tell) =>
      makeShown(schema, given, tell, {
        files: this.facts[name],
        most: this.facts.limits.max_controls,
        begun: name === "controls" ? (this.draft.values.image ?? "") : null,
        complain: (text) => this.complain(text, name),
      });
  }

  /**
   * Leave out networks whose files are not here; returns what is to be told of those and others.
   *
   * @param {import("./api.js").Values} values
   * @returns {string[]}
   */
  dropMissing(values) {
    const told = [];
    for (const name of Object.keys(this.schema).filter((each) => isShown(this.schema[each]))) {
      /** @type {import("./shown.js").Shown[]} */
      const given = values[name] ?? [];
      const isHere = (/** @type {{file: string}} */ each) => this.facts[name]?.includes(each.file);
      const here = given.filter(isHere);
      const gone = given.filter((each) => !isHere(each)).map((each) => each.file);
      const bare = here.filter((each) => !each.image).map((each) => each.file);
      values[name] = here.length ? here : undefined;
      if (gone.length) told.push(`Not here: ${gone.join(", ")}.`);
      if (bare.length && !(name === "controls" && values.image))
        told.push(`Choose the picture again for: ${bare.join(", ")}.`);
    }
    return told;
  }

  /** Say how many options are set, and fit the controls of size and words. */
  note() {
    const { values } = this.draft;
    const isOption = (/** @type {string} */ name) =>
      !OWN.includes(name) &&
      this.schema[name]?.["x-group"] &&
      this.schema[name]["x-group"] !== FROM_PICTURE;
    const set = Object.keys(values).filter(isOption).length;
    byId("more").textContent = set ? `Options (${set})` : "Options";
    byId("reset").hidden = !set;
    byId("own-size").hidden = this.shape.value !== "own" || !this.draft.hasSize;
    this.shape.parentElement.hidden = !this.draft.hasSize;
    this.prompt.style.height = "auto";
    this.prompt.style.height = `${this.prompt.scrollHeight}px`;
  }

  reset() {
    const kept = Object.entries(this.draft.values).filter(([name]) => OWN.includes(name));
    this.draft.replace(Object.fromEntries(kept));
    byId("more").focus();
  }

  /** Take the size of the chosen shape. */
  reshape() {
    const name = this.shape.value;
    if (name === "own") {
      byId("own-size").hidden = false;
      this.fields.get("width")?.element.querySelector("input")?.focus();
      return;
    }
    const [width, height] = this.sizeOf(name);
    this.draft.change(name === "square" ? { width: null, height: null } : { width, height });
  }

  /**
   * The sides of a shape, in the steps that the model likes best: as on the command line.
   *
   * @param {string} name
   */
  sizeOf(name) {
    const side = this.own.size;
    const grain = side >= 512 ? 64 : 8;
    const root = Math.sqrt(SHAPES[name]);
    return [side * root, side / root].map((each) => Math.max(1, Math.round(each / grain)) * grain);
  }

  /**
   * @param {number | undefined} width
   * @param {number | undefined} height
   */
  shapeOf(width, height) {
    const sides = [width ?? this.own.size, height ?? this.own.size];
    return Object.keys(SHAPES).find((name) => String(this.sizeOf(name)) === String(sides)) ?? "own";
  }
}
