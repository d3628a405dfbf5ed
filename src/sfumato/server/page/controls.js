/** Controls by the sort of value: each made from its JSON schema, without label and help. */

import { h } from "./dom.js";
import { asNumber, pairsOf, textOf } from "./texts.js";
import { weighted } from "./weights.js";

/**
 * @typedef {Record<string, any>} Schema
 * @typedef {{name: string, label?: string}} Row a choice that the server lists
 * @typedef {(value: any) => void} Changed is called with a new value; undefined: none is given
 * @typedef {{control: HTMLElement, set: (value: any) => void}} Control
 */

/**
 * @param {Schema} schema
 * @param {Record<string, any>} given
 * @param {string} open
 * @param {Changed} tell
 * @param {Row[]} [rows]
 * @returns {Control}
 */
export function makeControl(schema, given, open, tell, rows) {
  if (schema.type === "array" && schema.maxItems !== 2) return weighted(given, tell, rows ?? []);
  const named = (schema.enum ?? schema.examples ?? []).filter(
    (/** @type {any} */ each) => typeof each === "string",
  );
  const listed = rows ?? named.map((/** @type {string} */ name) => ({ name }));
  if (listed.length) return choice(given, listed, open, tell, schema.default);
  if (schema.type === "boolean") return flag(given, tell);
  if (schema.type === "integer" || schema.type === "number")
    return number(schema, given, open, tell);
  if (schema.type === "array") return pair(schema, given, tell);
  if (schema.type === "object" && schema.properties) return parts(schema, given, tell);
  if (schema.type === "object") return options(schema, given, tell);
  return words(given, open, tell);
}

/**
 * @param {Record<string, any>} given
 * @param {Row[]} rows
 * @param {string} open
 * @param {Changed} tell
 * @param {any} [own] the choice that is the default
 * @returns {Control}
 */
function choice(given, rows, open, tell, own) {
  const words = open === "the model's" ? "The model's own" : open ? `Default: ${open}` : "Default";
  const first = own ? [] : [h("option", { value: "" }, words)];
  const made = rows.map((row) =>
    h("option", { value: row.name }, row.label ?? row.name.replaceAll("_", " ")),
  );
  const control = h("select", given, ...first, ...made);
  control.addEventListener("change", () =>
    tell(control.value && control.value !== own ? control.value : undefined),
  );
  const set = (/** @type {any} */ value) => {
    const word = value === true ? "both" : String(value ?? own ?? "");
    if (![...control.options].some((option) => option.value === word)) {
      control.append(h("option", { value: word }, word));
    }
    control.value = word;
  };
  set(undefined);
  return { control, set };
}

/** @type {(given: Record<string, any>, tell: Changed) => Control} */
function flag(given, tell) {
  const control = h("input", { type: "checkbox", ...given });
  control.addEventListener("change", () => tell(control.checked || undefined));
  return { control, set: (value) => (control.checked = Boolean(value)) };
}

/** @type {(schema: Schema, given: Record<string, any>, open: string, tell: Changed) => Control} */
function number(schema, given, open, tell) {
  const isWhole = schema.type === "integer";
  const step = isWhole ? (schema.minimum === 8 ? 8 : 1) : schema.maximum <= 1 ? 0.05 : 0.5;
  // A seed of 64 bits is more than a number of JavaScript holds, so its control is for text.
  const isLong = schema.maximum > Number.MAX_SAFE_INTEGER;
  const control = h("input", {
    ...given,
    type: isLong ? "text" : "number",
    inputmode: isWhole ? "numeric" : "decimal",
    step: isLong ? null : step,
    min: isLong ? null : (schema.minimum ?? schema.exclusiveMinimum),
    max: isLong ? null : schema.maximum,
    placeholder: open,
    autocomplete: "off",
  });
  control.addEventListener("input", () => {
    const text = control.value.trim();
    tell(text === "" ? undefined : asNumber(text));
  });
  return { control, set: (value) => (control.value = value ?? "") };
}

/** @type {(given: Record<string, any>, open: string, tell: Changed) => Control} */
function words(given, open, tell) {
  const isLong = given.name.endsWith("prompt"); // may have several lines
  const more = { placeholder: open, autocomplete: "off", ...given };
  const control = isLong
    ? h("textarea", { rows: 2, ...more })
    : h("input", { type: "text", ...more });
  control.addEventListener("input", () => tell(control.value || undefined));
  return { control, set: (value) => (control.value = value ?? "") };
}

/** @type {(schema: Schema, given: Record<string, any>, tell: Changed) => Control} */
function pair(schema, given, tell) {
  const named = { 0: "from", 1: "to" };
  const [a, b] = [0, 1].map((i) =>
    h("input", {
      ...(i ? {} : { id: given.id }),
      type: "number",
      step: schema.items.type === "integer" ? (schema.items.minimum ?? 1) : 0.05,
      min: schema.items.minimum,
      max: schema.items.maximum,
      placeholder: String(schema.default?.[i] ?? ""),
      "aria-label":
        schema.items.type === "integer" ? ["width", "height"][i] : named[/** @type {0 | 1} */ (i)],
      oninput: () => {
        const values = [a, b].map((each, place) =>
          each.value === "" ? schema.default?.[place] : Number(each.value),
        );
        const isOpen = a.value === "" && b.value === "";
        tell(isOpen ? undefined : values.map((value) => value ?? 0));
      },
    }),
  );
  const set = (/** @type {any} */ value) =>
    [a, b].forEach((each, i) => (each.value = value?.[i] ?? ""));
  return { control: h("div", { class: "pair" }, a, b), set };
}

/** Numbers by name, such as the sides of a picture; where it may be just on, a box for that. */
/** @type {(schema: Schema, given: Record<string, any>, tell: Changed) => Control} */
function parts(schema, given, tell) {
  const change = () => {
    const filled = inputs.filter((input) => input.value !== "");
    const values = filled.map((input) => [input.name, Number(input.value)]);
    if (values.length) on.checked = true;
    tell(values.length || on.checked ? Object.fromEntries(values) : undefined);
  };
  const on = h("input", { type: "checkbox", onchange: () => (on.checked ? change() : clear()) });
  const inputs = Object.entries(schema.properties).map(([name, each]) =>
    h("input", {
      name,
      type: "number",
      min: each.minimum,
      max: each.maximum,
      step: each.type === "integer" ? 8 : "any",
      placeholder: name,
      "aria-label": name,
      oninput: change,
    }),
  );
  const set = (/** @type {any} */ value) => {
    on.checked = value !== undefined;
    inputs.forEach((input) => (input.value = value?.[input.name] ?? ""));
  };
  const clear = () => {
    set(undefined);
    tell(undefined);
  };
  const box = schema.isSwitch && h("label", { class: "switch" }, on, " On");
  return { control: h("div", { class: "pair", id: given.id }, box, ...inputs), set };
}

/** Numbers, words or lists by name, a line each: "eta=0.5" or "colour=red|blue". */
/** @type {(schema: Schema, given: Record<string, any>, tell: Changed) => Control} */
function options(schema, given, tell) {
  const isLists = schema.additionalProperties?.type === "array";
  const placeholder = isLists ? "colour=red|blue" : "eta=0.5";
  const control = h("textarea", { rows: 2, placeholder, ...given });
  control.addEventListener("input", () => {
    const values = pairsOf(control.value, isLists ? /\n/ : /[\n,]/);
    const lists = Object.entries(values).map(([name, text]) => [
      name,
      String(text)
        .split("|")
        .map((each) => each.trim()),
    ]);
    const told = isLists ? Object.fromEntries(lists) : values;
    tell(lists.length ? told : undefined);
  });
  const set = (/** @type {any} */ value) => (control.value = textOf(value ?? {}, "\n"));
  return { control, set };
}
