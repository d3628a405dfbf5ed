/** Comparisons: one request with each combination of some values, as a table of pictures. */

import { ApiError, post, show } from "./api.js";
import { button, fill, h } from "./dom.js";
import { isLive } from "./feed.js";
import { kindOf, titleOf } from "./fields.js";
import { framed, stateOf } from "./stage.js";
import { asNumber } from "./texts.js";

/**
 * @typedef {{name: string, values: any[]}} Axis
 * @typedef {{axes: Axis[], jobs: (string | null)[], request: import("./api.js").Values}} Comparison
 *   the first axis has the columns and is the fastest
 */

const PLACE = "sfumato-comparison";
const WORDS = ["prompt", "negative_prompt"];
const MOST = 100;

/**
 * The fold in which the axes are chosen.
 *
 * @param {Record<string, any>} schema
 */
export function makeAxes(schema) {
  const isAxis = (/** @type {string} */ name) => {
    const { type } = kindOf(schema[name]);
    const isPicture = kindOf(schema[name]).format === "data-url";
    return (
      schema[name]["x-group"] &&
      ["string", "integer", "number"].includes(type) &&
      !isPicture &&
      name !== "count"
    );
  };
  const names = Object.keys(schema).filter(isAxis);
  const rows = ["Columns", "Rows"].map((title) => {
    const choose = h(
      "select",
      { "aria-label": `${title}: what differs` },
      h("option", { value: "" }, "–"),
    );
    choose.append(...names.map((name) => h("option", { value: name }, titleOf(name))));
    const values = h("input", {
      type: "text",
      "aria-label": `${title}: the values`,
      placeholder: "10, 20, 30",
    });
    choose.addEventListener("change", () => {
      const isWords = WORDS.includes(choose.value);
      values.placeholder = isWords ? "a part of the words, other words, …" : "10, 20, 30";
    });
    return {
      choose,
      values,
      line: h(
        "div",
        { class: "field wide axis" },
        h("span", {}, title),
        h("div", { class: "pair" }, choose, values),
      ),
    };
  });
  const clear = () => rows.forEach(({ choose, values }) => (choose.value = values.value = ""));
  const axes = () =>
    rows
      .filter(({ choose, values }) => choose.value && values.value.trim())
      .map(({ choose, values }) => ({
        name: choose.value,
        values: valuesOf(choose.value, values.value, schema),
      }));
  const help = "Paints one picture for each combination, all from the same seed.";
  const element = h(
    "details",
    { id: "compare" },
    h("summary", {}, "Compare"),
    h("p", { class: "help" }, help),
    h("div", { class: "fields" }, ...rows.map(({ line }) => line)),
  );
  return { element, axes, clear };
}

/**
 * The values in a text with commas; one with a comma has quotes.
 *
 * @param {string} name
 * @param {string} text
 * @param {Record<string, any>} schema
 */
export function valuesOf(name, text, schema) {
  const words = [...text.matchAll(/\s*"([^"]*)"\s*|[^,]+/g)].map((found) =>
    (found[1] ?? found[0]).trim(),
  );
  const isNumber = kindOf(schema[name]).type !== "string";
  return words.filter(Boolean).map((word) => (isNumber ? asNumber(word) : word));
}

/**
 * The requests of a comparison.
 *
 * @param {import("./api.js").Values} request
 * @param {Axis[]} axes
 */
export function cellsOf(request, axes) {
  const seed = request.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
  /** @type {import("./api.js").Values[]} */
  let cells = [{ ...request, count: 1, seed }];
  for (const { name, values } of [...axes].reverse()) {
    cells = cells.flatMap((cell) =>
      values.map((value) => ({ ...cell, [name]: changed(cell[name], value, name, values[0]) })),
    );
  }
  if (cells.length > MOST)
    throw new Error(`A comparison has at most ${MOST} pictures, and this has ${cells.length}.`);
  return cells;
}

/** @type {(before: any, value: any, name: string, part: any) => any} */
function changed(before, value, name, part) {
  if (!WORDS.includes(name)) return value;
  if (!String(before ?? "").includes(part))
    throw new Error(`“${part}” must be a part of the ${name.replace("_", " ")}.`);
  return String(before).replaceAll(part, () => value);
}

/**
 * Ask for all pictures of a comparison; a full queue is waited for.
 *
 * @param {Comparison} comparison
 * @param {import("./api.js").Values[]} cells
 * @param {(job: import("./api.js").Job) => void} asked
 */
export async function askForAll(comparison, cells, asked) {
  for (const [i, cell] of cells.entries()) {
    for (;;) {
      try {
        const job = await post("v1/jobs", cell);
        comparison.jobs[i] = job.id;
        keep(comparison);
        asked(job);
        break;
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 429) throw error;
        await new Promise((wake) => setTimeout(wake, 1000 * (error.retry || 2)));
      }
    }
  }
}

/** @param {Comparison} comparison */
export const keep = (comparison) =>
  sessionStorage.setItem(
    PLACE,
    JSON.stringify(comparison, (_, each) => (typeof each === "bigint" ? String(each) : each)),
  );

/** @returns {Comparison | null} */
export function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE) ?? "null");
  } catch {
    return null;
  }
}

/**
 * Show the table; returns what fits it to the jobs as they are.
 *
 * @param {HTMLElement} place
 * @param {Comparison} comparison
 * @param {(id: string) => import("./api.js").Job | undefined} find
 * @param {{look: (id: string) => void, cancel: (job: import("./api.js").Job) => void}} actions
 */
export function showComparison(place, comparison, find, actions) {
  const [columns, rows = { name: "", values: [""] }] = comparison.axes;
  const { width = 1, height = 1 } = comparison.request;
  const cells = rows.values.flatMap(() =>
    columns.values.map(() => {
      const img = h("img", { alt: "" });
      const press = h("button", {
        type: "button",
        disabled: true,
        onclick: () => img.dataset.id && actions.look(img.dataset.id),
      });
      framed(width, height, press).append(img, h("span", { class: "facts" }));
      return { img, press };
    }),
  );
  const titles = columns.values.map((value) => h("th", { scope: "col" }, String(value)));
  const body = rows.values.map((value, r) => {
    const own = cells.slice(r * columns.values.length, (r + 1) * columns.values.length);
    return h(
      "tr",
      {},
      rows.name && h("th", { scope: "row" }, String(value)),
      ...own.map(({ press }) => h("td", {}, press)),
    );
  });
  const title = [columns, rows]
    .map(({ name }) => name && titleOf(name))
    .filter(Boolean)
    .join(" × ");
  const stop = button("Cancel all", () =>
    comparison.jobs.forEach((id) => {
      const job = id && find(id);
      if (job && isLive(job)) actions.cancel(job);
    }),
  );
  fill(
    place,
    h("div", { class: "title" }, h("h2", {}, `Comparison: ${title}`), stop),
    h("p", { class: "prompt" }, comparison.request.prompt),
    h(
      "div",
      { class: "wide-table", tabindex: 0, role: "region", "aria-label": title },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, rows.name && h("td"), ...titles)),
        h("tbody", {}, ...body),
      ),
    ),
  );

  return () => {
    const jobs = comparison.jobs.map((id) => (id ? find(id) : undefined));
    stop.hidden = !jobs.some((job) => job && isLive(job));
    cells.forEach(({ img, press }, i) => {
      const job = jobs[i];
      const words = /** @type {HTMLElement} */ (press.lastElementChild);
      const picture = job?.pictures[0];
      if (picture) {
        framed(picture.width, picture.height, press);
        img.alt = picture.request.prompt;
        img.dataset.id = picture.id;
        press.disabled = false;
      }
      const preview = job?.step?.previews[0];
      if (picture || preview) show(img, picture?.id ?? preview ?? "");
      words.textContent = picture ? "" : job ? stateOf(job) : comparison.jobs[i] ? "Gone" : "";
    });
  };
}
