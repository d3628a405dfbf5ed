/** The large view: a job while it is painted, or one picture with its recipe. */

import { post, show, sourceOf } from "./api.js";
import { button, copy, fill, h } from "./dom.js";
import { isLive } from "./feed.js";
import { titleOf } from "./fields.js";

/**
 * @typedef {import("./api.js").Job} Job
 * @typedef {import("./api.js").Picture} Picture
 * @typedef {import("./api.js").Values} Values
 * @typedef {{
 *   look: (id: string) => void,
 *   cancel: (job: Job) => void,
 *   forget: (job: Job) => void,
 *   again: (values: Values, isNew: boolean) => void,
 *   recall: (values: Values) => void,
 *   begin: (name: string, brushes: boolean) => void,
 * }} Actions
 */

/**
 * A frame of a picture's shape, which is there before the picture.
 *
 * @param {number} width
 * @param {number} height
 * @param {HTMLElement} [outer]
 */
export function framed(width, height, outer = h("div")) {
  outer.classList.add("frame");
  outer.style.setProperty("--ratio", String(width / height));
  return outer;
}

/**
 * The facts of a request in a few words.
 *
 * @param {Values} request
 */
export const inShort = (request) =>
  [
    request.width && `${request.width} × ${request.height}`,
    request.seed !== undefined && `seed ${request.seed}`,
    request.steps && `${request.steps} ${request.steps === 1 ? "step" : "steps"}`,
    request.sampler,
    request.model,
  ]
    .filter(Boolean)
    .join(" · ");

/**
 * A job on its way: its pictures as they become clearer. Returns what fits it to later facts.
 *
 * @param {HTMLElement} place
 * @param {Job} job
 * @param {Actions} actions
 * @returns {(job: Job) => void}
 */
export function showJob(place, job, actions) {
  const { width = 1, height = 1, count = 1, prompt = "" } = job.request;
  const images = Array.from({ length: count }, () => h("img", { alt: "" }));
  const frames = images.map((img, i) => {
    const look = () => img.dataset.id && actions.look(img.dataset.id);
    const outer = h("button", {
      type: "button",
      onclick: look,
      disabled: true,
      "aria-label": `Picture ${i + 1}`,
    });
    const made = framed(width, height, outer);
    made.append(img);
    return made;
  });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const words = h("p", { class: "facts" });
  const stop = button("Cancel", () => actions.cancel(job));
  const wrong = h("p", { class: "wrong" });
  const again = button("Change it and try again", () => actions.again(job.request, false));
  const row = h("div", { class: "bar" }, words, again, stop);
  const columns = count === 4 ? 2 : Math.min(count, count <= 9 ? 3 : 4);
  const all = h("div", { class: "frames" }, ...frames);
  const sizes = { ratio: width / height, columns, rows: Math.ceil(count / columns) };
  for (const [name, value] of Object.entries(sizes))
    all.style.setProperty(`--${name}`, String(value));
  fill(place, all, bar, h("p", { class: "prompt" }, prompt), wrong, row);

  const update = (/** @type {Job} */ now) => {
    images.forEach((img, i) => {
      const made = now.pictures.find((each) => each.place === i);
      const preview = now.step?.previews[now.step.pictures.indexOf(i)];
      if (made) {
        show(img, made.id);
        img.dataset.id = made.id;
        img.classList.remove("preview");
        /** @type {HTMLButtonElement} */ (frames[i]).disabled = false;
      } else if (preview) {
        img.classList.add("preview");
        show(img, preview);
      }
    });
    const live = isLive(now);
    bar.hidden = !live;
    bar.value = now.progress;
    stop.hidden = !live;
    again.hidden = now.state !== "failed" && now.state !== "cancelled";
    words.textContent = stateOf(now);
    wrong.textContent = now.state === "failed" ? (now.error?.message ?? "It failed.") : "";
  };
  update(job);
  return update;
}

/**
 * How a job stands, in words.
 *
 * @param {Job} job
 */
export function stateOf(job) {
  if (job.state === "queued")
    return job.position ? `Waiting, ${job.position} before it` : "Waiting";
  if (job.state === "running") {
    if (job.step) return `Step ${job.step.step} of ${job.step.steps}`;
    return job.progress ? `${Math.round(100 * job.progress)} %` : "Beginning";
  }
  if (job.state === "done") return inShort(job.request);
  return job.state === "cancelled" ? "Cancelled" : "Failed";
}

/**
 * One picture, what can be done with it, and its recipe.
 *
 * @param {HTMLElement} place
 * @param {Picture} picture
 * @param {Job} job
 * @param {Actions} actions
 */
export function showPicture(place, picture, job, actions) {
  const { request } = picture;
  const img = h("img", { alt: request.prompt || "A picture without words" });
  const made = framed(picture.width, picture.height);
  made.append(show(img, picture.id));
  const save = h(
    "a",
    { class: "button quiet", download: `${picture.seed}-${picture.id}.png` },
    "Download",
  );
  sourceOf(picture.id).then(
    (source) => save.setAttribute("href", source),
    () => {},
  );
  const several = job.pictures.length > 1;
  fill(
    place,
    made,
    h("p", { class: "prompt" }, request.prompt),
    h("p", { class: "facts" }, inShort(request)),
    ...picture.flags.map((flag) => h("p", { class: "flag" }, flag)),
    h(
      "div",
      { class: "bar" },
      button("Again with changes", () => actions.again(request, false)),
      button("Another seed", () => actions.again(request, true)),
      button("Begin from it", () => actions.begin(`picture:${picture.id}`, false)),
      button("Paint over a part", () => actions.begin(`picture:${picture.id}`, true)),
      several && button("All of these", () => actions.look(job.id)),
      save,
    ),
    recipe(picture, job, actions),
  );
}

/**
 * @param {Picture} picture
 * @param {Job} job
 * @param {Actions} actions
 */
function recipe(picture, job, actions) {
  const { image_name: _, ...request } = picture.request;
  const items = Object.entries(request)
    .filter(([name]) => name !== "prompt")
    .map(([name, value]) => h("div", {}, h("dt", {}, titleOf(name)), h("dd", {}, inWords(value))));
  const forms = h("div", { class: "forms" });
  const forget = button(
    several(job),
    () => {
      if (forget.dataset.sure) return actions.forget(job);
      forget.dataset.sure = "yes";
      forget.textContent = "Sure? It cannot be undone";
      return undefined;
    },
    { class: "quiet danger" },
  );
  const made = h(
    "details",
    { class: "recipe" },
    h("summary", {}, "Recipe"),
    h("dl", {}, ...items),
    forms,
    forget,
  );
  made.addEventListener("toggle", async () => {
    if (!made.open || forms.children.length) return;
    const told = await post("v1/recipes", { request: picture.request }).catch(() => ({}));
    const texts = {
      "Command line": told.command,
      Python: told.python,
      "For other programs": picture.recipe,
    };
    fill(forms, ...Object.entries(texts).map(([title, text]) => text && form(title, text)));
  });
  return made;
}

/** @param {Job} job */
const several = (job) =>
  job.pictures.length > 1 ? `Delete these ${job.pictures.length} pictures` : "Delete the picture";

/**
 * A text to copy.
 *
 * @param {string} title
 * @param {string} text
 */
function form(title, text) {
  const press = button("Copy", () => copy(text, press), { "aria-label": `Copy: ${title}` });
  return h(
    "section",
    {},
    h("div", { class: "title" }, h("h2", {}, title), press),
    h("pre", { tabindex: 0, role: "region", "aria-label": title }, h("code", {}, text)),
  );
}

/** @param {any} value @returns {string} */
const inWords = (value) => {
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  if (value === null || typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([name, each]) => `${name} ${inWords(each)}`)
    .join(", ");
};
