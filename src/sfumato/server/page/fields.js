/** The controls of a request's fields, each made from its JSON schema alone. */

import { makeControl } from "./controls.js";
import { h } from "./dom.js";

/**
 * @typedef {import("./controls.js").Schema} Schema
 * @typedef {import("./controls.js").Row} Row
 * @typedef {{element: HTMLElement, set: (value: any) => void,
 *   complain: (text: string) => void}} Field
 */

/** In a help: how the command line says it, and the default. */
const ELSEWHERE = /, such as [A-Z]+:[^;]*|\s*\[[^\]]*\]$/g;

/**
 * The sort of value that a field takes, besides none: a list or numbers rather than their text.
 *
 * @param {Schema} schema
 * @returns {Schema} `type` is "null" where there is none; `isSwitch`: it can be just on
 */
export function kindOf(schema) {
  const leaves = (/** @type {Schema} */ each) =>
    each.anyOf ? each.anyOf.flatMap(leaves) : each.type === "null" ? [] : [each];
  const sorts = schema.anyOf ? leaves(schema) : [schema];
  const isSwitch = sorts.some((/** @type {Schema} */ each) => each.enum?.includes("on"));
  const first = sorts.find((/** @type {Schema} */ each) => each.type !== "string") ?? sorts[0];
  return { ...schema, ...(first ?? { type: "null" }), isSwitch };
}

/**
 * Whether a person can write a field: of the values of some only programs know what they mean.
 *
 * @param {Schema} declared
 */
export function isWritable(declared) {
  const { type, additionalProperties, items } = kindOf(declared);
  const isNested = (additionalProperties ?? items)?.type === "object";
  return Boolean(declared["x-group"]) && type !== "null" && !isNested;
}

/** @param {string} name */
export function titleOf(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/**
 * The control of a field, with its label and help.
 *
 * @param {string} name
 * @param {Schema} declared
 * @param {(value: any) => void} changed
 * @param {{rows?: Row[], open?: string, id?: string, make?: typeof makeControl}} [more] the
 *   choices there are, what stands for none, another id than by the name, another maker
 * @returns {Field}
 */
export function makeField(name, declared, changed, more = {}) {
  const schema = kindOf(declared);
  const help = String(schema.description ?? "");
  const open = more.open ?? help.match(/\[([^\]]*)\]$/)?.[1] ?? "";
  const id = more.id ?? `field-${name}`;
  const given = { id, name, "aria-describedby": `${id}-help` };
  const tell = (/** @type {any} */ value) => {
    complain("");
    changed(value);
  };
  const { control, set } = (more.make ?? makeControl)(schema, given, open, tell, more.rows);
  const wrong = h("p", { class: "wrong", id: `${id}-wrong` });
  const isGroup = control.tagName === "DIV";
  const label = isGroup ? "span" : "label";
  const isWide = Boolean(schema.properties ?? more.make) || name.endsWith("prompt");
  const element = h(
    "div",
    {
      class: isWide ? "field wide" : "field",
      ...(isGroup && { role: "group", "aria-labelledby": `${id}-label` }),
    },
    h(label, isGroup ? { id: `${id}-label` } : { for: id }, titleOf(name)),
    control,
    h("p", { class: "help", id: `${id}-help` }, help.replace(ELSEWHERE, "")),
    wrong,
  );

  /** @param {string} text */
  function complain(text) {
    wrong.textContent = text;
    if (text) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  }
  return { element, set, complain };
}
