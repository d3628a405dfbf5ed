/** The pictures that were made, and the jobs that wait. */

import { show } from "./api.js";
import { button, byId, fill, h } from "./dom.js";
import { isLive } from "./feed.js";
import { framed, stateOf } from "./stage.js";

/**
 * @typedef {import("./api.js").Job} Job
 * @typedef {import("./api.js").Picture} Picture
 */

export class Gallery {
  /** @param {(id: string) => void} look */
  constructor(look) {
    this.look = look;
    /** @type {Map<string, HTMLLIElement>} */
    this.tiles = new Map();
    this.list = byId("tiles");
    this.list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) =>
      this.pressed(event),
    );
  }

  /**
   * Show pictures, the newest first, and which of them is looked at.
   *
   * @param {Picture[]} pictures
   * @param {string} current its id
   */
  render(pictures, current) {
    byId("gallery").hidden = !pictures.length;
    const ids = new Set(pictures.map((picture) => picture.id));
    for (const [id, tile] of this.tiles) {
      if (ids.has(id)) continue;
      tile.remove();
      this.tiles.delete(id);
    }
    pictures.forEach((picture, i) => {
      const tile = this.tiles.get(picture.id) ?? this.tile(picture);
      if (this.list.children[i] !== tile)
        this.list.insertBefore(tile, this.list.children[i] ?? null);
      const press = /** @type {HTMLButtonElement} */ (tile.firstElementChild);
      const isCurrent = picture.id === current;
      // One stop for the tab key, arrows within.
      press.tabIndex = isCurrent || (!ids.has(current) && i === 0) ? 0 : -1;
      if (isCurrent) press.setAttribute("aria-current", "true");
      else press.removeAttribute("aria-current");
    });
  }

  /** @param {Picture} picture */
  tile(picture) {
    const alt = picture.request.prompt || "A picture without words";
    const img = h("img", { alt, loading: "lazy", decoding: "async" });
    const press = h("button", { type: "button", title: alt, onclick: () => this.look(picture.id) });
    framed(picture.width, picture.height, press).append(show(img, picture.id));
    const tile = h("li", {}, press);
    this.tiles.set(picture.id, tile);
    return tile;
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const all = [...this.list.querySelectorAll("button")];
    const at = all.indexOf(/** @type {any} */ (document.activeElement));
    const columns = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const step = /** @type {Record<string, number>} */ (steps)[event.key];
    const next = step ? all[at + step] : undefined;
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  }
}

/**
 * Show the jobs that have not ended, or failed unseen, each with a way to be rid of it.
 *
 * @param {Job[]} jobs
 * @param {(job: Job) => void} cancel
 * @param {(id: string) => void} look
 */
export function showQueue(jobs, cancel, look) {
  const place = byId("queue");
  place.hidden = !jobs.length;
  const key = jobs.map((job) => `${job.id} ${stateOf(job)}`).join();
  if (place.dataset.key === key) return; // a button that has the focus stays
  place.dataset.key = key;
  const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset.job;
  const rows = jobs.map((job) => {
    const words = job.request.prompt || "without words";
    const name = h(
      "button",
      { type: "button", class: "words", onclick: () => look(job.id) },
      words,
    );
    const verb = isLive(job) ? "Cancel" : "Dismiss";
    const stop = button(verb, () => cancel(job), {
      "aria-label": `${verb}: ${words}`,
      "data-job": job.id,
    });
    return h("li", {}, name, h("span", { class: "facts" }, stateOf(job)), stop);
  });
  fill(place, h("h2", { class: "unseen" }, "Queue"), h("ul", {}, ...rows));
  if (focused) {
    const stops = [
      .../** @type {NodeListOf<HTMLElement>} */ (place.querySelectorAll("[data-job]")),
    ];
    (stops.find((each) => each.dataset.job === focused) ?? stops[0])?.focus();
  }
}
