/** Names with weights, such as LoRAs: [["style", 0.8], ["other", { unet: 1 }]]. */

import { button, fill, h } from "./dom.js";
import { asNumber, pairsOf, textOf } from "./texts.js";

/**
 * A control with a line for each name. A weight is a number, or numbers by part: "unet=1, text=0".
 *
 * @param {Record<string, any>} given
 * @param {import("./controls.js").Changed} tell
 * @param {import("./controls.js").Row[]} rows the names there are
 * @returns {import("./controls.js").Control}
 */
export function weighted(given, tell, rows) {
  const list = h("div", { class: "weighted" });
  const known = rows.map((row) => h("option", { value: row.name }, row.label ?? row.name));
  const names = h("datalist", { id: `${given.id}-names` }, ...known);
  const fields = (/** @type {Element} */ line) => [...line.querySelectorAll("input")];

  const read = () => {
    const lines = [...list.children].map((line) => fields(line).map((input) => input.value.trim()));
    const pairs = lines.filter(([name]) => name).map(([name, weight]) => [name, weightOf(weight)]);
    tell(pairs.length ? pairs : undefined);
  };
  const line = (/** @type {string} */ name, /** @type {any} */ weight) => {
    const text = typeof weight === "object" ? textOf(weight) : weight;
    const one = { type: "text", autocomplete: "off", oninput: read };
    const remove = () => {
      made.remove();
      read();
      add.focus();
    };
    const made = h(
      "div",
      { class: "pair" },
      h("input", {
        ...one,
        value: name,
        list: names.id,
        placeholder: "name",
        "aria-label": "name",
      }),
      h("input", { ...one, value: text, inputmode: "decimal", "aria-label": "weight" }),
      button("×", remove, { "aria-label": "Remove" }),
    );
    return made;
  };
  const begin = () => {
    const made = line("", 1);
    list.append(made);
    fields(made)[0].focus();
  };
  const add = button("Add", begin, { id: given.id });
  const set = (/** @type {any} */ value) =>
    fill(list, ...(value ?? []).map((/** @type {any} */ each) => line(...pairOf(each))));
  return { control: h("div", {}, list, add, names), set };
}

/** @param {string} text */
const weightOf = (text) => (text.includes("=") ? pairsOf(text) : text === "" ? 1 : asNumber(text));

/** @param {any} each a name, or a name with its weight @returns {[string, any]} */
const pairOf = (each) => (typeof each === "string" ? [each, 1] : [each[0], each[1]]);
