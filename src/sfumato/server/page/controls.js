/** Controls by the sort of value: each made from its JSON schema, without label and help. */

import { button, fill, h } from "./dom.js";

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
  if (schema.type === "object") return options(schema, given, open, tell);
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

/**
 * The number that a text is; the text if it is none, about which the server will complain.
 *
 * @param {string} text
 */
export function asNumber(text) {
  if (/^\d+$/.test(text) && !Number.isSafeInteger(Number(text))) return BigInt(text);
  return Number.isNaN(Number(text)) ? text : Number(text);
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
/** @type {(schema: Schema, given: Record<string, any>, open: string, tell: Changed) => Control} */
function options(schema, given, open, tell) {
  const isLists = schema.additionalProperties?.type === "array";
  const control = h("textarea", {
    rows: 2,
    placeholder: isLists ? "colour=red|blue" : "eta=0.5",
    ...given,
  });
  control.addEventListener("input", () => {
    const lines = control.value.split(isLists ? /\n/ : /[\n,]/).map((line) => line.trim());
    const pairs = lines.filter(Boolean).map((line) => {
      const [name, ...rest] = line.split("=");
      const text = rest.join("=").trim();
      const value = text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
      return [name.trim(), isLists ? text.split("|").map((each) => each.trim()) : value];
    });
    tell(pairs.length ? Object.fromEntries(pairs) : undefined);
  });
  const set = (/** @type {any} */ value) => {
    const lines = Object.entries(value ?? {}).map(
      ([name, each]) => `${name}=${isLists ? each.join("|") : each}`,
    );
    control.value = lines.join("\n");
  };
  return { control, set };
}

/** Names with weights, such as LoRAs: [["style", 0.8], ...]. */
/** @type {(given: Record<string, any>, tell: Changed, rows: Row[]) => Control} */
function weighted(given, tell, rows) {
  const list = h("div", { class: "weighted" });
  const names = h(
    "datalist",
    { id: `${given.id}-names` },
    ...rows.map((row) => h("option", { value: row.name })),
  );
  const add = button(
    "Add",
    () => {
      list.append(line("", 1));
      list.querySelector("div:last-child input")?.dispatchEvent(new Event("focus"));
    },
    { id: given.id },
  );

  const read = () => {
    const lines = [...list.children].map((each) =>
      [...each.querySelectorAll("input")].map((input) => input.value),
    );
    const filled = lines.filter(([name]) => name.trim());
    tell(
      filled.length
        ? filled.map(([name, weight]) => [name.trim(), Number(weight || 1)])
        : undefined,
    );
  };
  /** @type {(name: string, weight: any) => HTMLElement} */
  const line = (name, weight) => {
    const made = h(
      "div",
      { class: "pair" },
      h("input", {
        type: "text",
        value: name,
        list: names.id,
        placeholder: "name",
        "aria-label": "name",
        oninput: read,
      }),
      h("input", {
        type: "number",
        value: weight,
        step: 0.05,
        "aria-label": "weight",
        oninput: read,
      }),
      button(
        "×",
        () => {
          made.remove();
          read();
        },
        { "aria-label": "Remove" },
      ),
    );
    return made;
  };
  const set = (/** @type {any} */ value) =>
    fill(list, ...(value ?? []).map((/** @type {any[]} */ pair) => line(pair[0], pair[1])));
  return { control: h("div", {}, list, add, names), set };
}
