/** Networks that are shown pictures: ControlNets, and IP-Adapters for pictures as prompts. */

import { reasonOf, show } from "./api.js";
import { button, fill, h, say } from "./dom.js";
import { KINDS, takeAt, upload } from "./drop.js";
import { kindOf, makeField, titleOf } from "./fields.js";

/**
 * @typedef {Record<string, any> & {file: string, image?: string}} Shown
 * @typedef {{files: string[], most: number, begun: string | null,
 *   complain: (text: string) => void}} Around what there is around the control: the files, how
 *   many may be used, and the picture of those that have none ("": not there; null: never)
 */

const USUAL = ["file", "preprocessor", "weight", "start", "end"];

/**
 * Whether a field has such networks.
 *
 * @param {import("./controls.js").Schema} declared
 */
export const isShown = (declared) => Boolean(kindOf(declared).items?.properties?.image);

/**
 * A control with a card for each of them.
 *
 * @param {import("./controls.js").Schema} schema
 * @param {Record<string, any>} given
 * @param {import("./controls.js").Changed} tell
 * @param {Around} around
 * @returns {import("./controls.js").Control}
 */
export function makeShown(schema, given, tell, around) {
  const files = likelyFirst(around.files, around.begun === null);
  /** @type {Shown[]} */
  let items = []; // never changed in place: a job of the history may have the same ones
  const list = h("div");
  const put = (/** @type {Shown[]} */ changed) => {
    items = changed;
    tell(items.length ? items : undefined);
  };
  const render = () => {
    fill(list, ...items.map((item, i) => cardOf(item, i)));
    add.hidden = items.length >= around.most;
  };
  const cardOf = (/** @type {Shown} */ item, /** @type {number} */ i) =>
    makeCard(
      schema.items.properties,
      { id: `${given.id}-${i}`, title: `${titleOf(given.name).replace(/s$/, "")} ${i + 1}` },
      item,
      {
        change: (name, value) => put(items.with(i, changed(items[i], name, value))),
        remove: () => {
          put(items.toSpliced(i, 1));
          render();
          add.focus();
        },
      },
      { ...around, files },
    );
  const begin = () => {
    put([...items, { file: files[0] }]);
    render();
    list.lastElementChild?.querySelector("select")?.focus();
  };
  const add = button("Add", begin, { id: given.id });
  const set = (/** @type {Shown[] | undefined} */ value) => {
    items = value ?? [];
    render();
  };
  return { control: h("div", {}, list, add), set };
}

/**
 * The files with those first that are of the right kind by their names: a folder has both kinds.
 *
 * @type {(files: string[], isPrompt: boolean) => string[]}
 */
const likelyFirst = (files, isPrompt) => {
  const isUnlikely = (/** @type {string} */ name) => /ip[-_ ]?adapter/i.test(name) !== isPrompt;
  return files.toSorted((a, b) => Number(isUnlikely(a)) - Number(isUnlikely(b)));
};

/** @type {(item: Shown, name: string, value: any) => Shown} */
const changed = (item, name, value) => {
  const { [name]: _, ...rest } = item;
  return /** @type {Shown} */ (value === undefined ? rest : { ...rest, [name]: value });
};

/**
 * One network: its picture, its fields.
 *
 * @param {Record<string, import("./controls.js").Schema>} properties
 * @param {{id: string, title: string}} called
 * @param {Shown} item
 * @param {{change: (name: string, value: any) => void, remove: () => void}} actions
 * @param {Around} around
 */
function makeCard(properties, called, item, actions, around) {
  const names = Object.keys(properties).filter(
    (name) => name !== "image" && kindOf(properties[name]).type !== "null",
  );
  const field = (/** @type {string} */ name) => {
    const isFile = name === "file";
    const first = around.files[0];
    const declared = isFile ? { ...properties[name], default: first } : properties[name];
    const change = (/** @type {any} */ value) =>
      actions.change(name, value ?? (isFile ? first : undefined));
    const rows = isFile ? around.files.map((file) => ({ name: file, label: file })) : undefined;
    const made = makeField(name, declared, change, { id: `${called.id}-${name}`, rows });
    made.set(item[name]);
    made.element.classList.toggle("file", isFile); // names are long
    return made.element;
  };
  const rest = names.filter((name) => !USUAL.includes(name)).map(field);
  const place = makePlace(called.title, item.image, actions, around);
  const remove = button("Remove", actions.remove, { "aria-label": `Remove: ${called.title}` });
  const card = h(
    "div",
    { class: "shown", role: "group", "aria-label": called.title },
    h("div", { class: "title wide" }, h("span", {}, called.title), remove),
    place.element,
    h(
      "div",
      { class: "fields" },
      ...USUAL.filter((name) => names.includes(name)).map(field),
      rest.length > 0 &&
        h(
          "details",
          { class: "wide" },
          h("summary", {}, "More"),
          h("div", { class: "fields" }, ...rest),
        ),
    ),
  );
  takeAt(card, place.take);
  return card;
}

/**
 * The place for a picture: to see it, to choose another one, to be without it.
 *
 * @param {string} title
 * @param {string | undefined} own the picture that is there
 * @param {{change: (name: string, value: any) => void}} actions
 * @param {Around} around
 */
function makePlace(title, own, actions, around) {
  const seen = h("div", { class: "seen" });
  const words = h("p", { class: "help" });
  const file = h("input", {
    type: "file",
    accept: KINDS.join(),
    hidden: true,
    onchange: () => {
      if (file.files?.[0]) take(file.files[0]);
      file.value = "";
    },
  });
  const choose = button("", () => file.click());
  const leave = button("Use the picture to begin from", () => {
    put(undefined);
    choose.focus();
  });
  const element = h("div", { class: "place" }, seen, words, choose, leave, file);

  const render = () => {
    const shown = own ?? around.begun;
    fill(seen, shown ? show(h("img", { alt: `The picture of: ${title}` }), shown) : "");
    const empty = around.begun === null ? "" : ", or add one to begin from";
    words.textContent = shown ? "The picture to begin from" : `Drop a picture here${empty}`;
    words.hidden = Boolean(own);
    seen.hidden = !shown;
    choose.textContent = shown ? "Another picture" : "Choose a picture";
    leave.hidden = !own || !around.begun;
  };
  const put = (/** @type {string | undefined} */ name) => {
    own = name;
    actions.change("image", name);
    render();
  };
  const take = async (/** @type {File} */ given) => {
    try {
      const name = await upload(given);
      if (!element.isConnected) return; // the card was removed meanwhile
      put(name);
      say("The picture is there");
    } catch (error) {
      around.complain(reasonOf(error));
    }
  };
  render();
  return { element, take };
}
