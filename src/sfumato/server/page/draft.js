/** The request that is being written: plain values, kept in the tab over a reload. */

import { parse, written } from "./api.js";

const PLACE = "sfumato-draft";

export class Draft {
  constructor() {
    /** @type {import("./api.js").Values} */
    this.values = {};
    /** @type {((name: string | null) => void)[]} */
    this.listeners = [];
    try {
      this.values = parse(sessionStorage.getItem(PLACE) ?? "{}");
    } catch {
      sessionStorage.removeItem(PLACE);
    }
  }

  /**
   * Call a function after each change, with the field, or null where all may have changed.
   *
   * @param {(name: string | null) => void} listener
   */
  listen(listener) {
    this.listeners.push(listener);
  }

  /**
   * @param {string} name
   * @param {any} value undefined: the field is left open
   */
  set(name, value) {
    if (value === undefined) delete this.values[name];
    else this.values[name] = value;
    this.keep(name);
  }

  /**
   * Change several fields, with their controls.
   *
   * @param {import("./api.js").Values} changes
   */
  change(changes) {
    this.replace({ ...this.values, ...changes });
  }

  /**
   * Take other values in place of all.
   *
   * @param {import("./api.js").Values} values
   */
  replace(values) {
    const given = Object.entries(values).filter(
      ([, value]) => value !== undefined && value !== null,
    );
    this.values = Object.fromEntries(given);
    this.keep(null);
  }

  /** Whether the size may be chosen: a picture to begin from mostly has its own. */
  get hasSize() {
    const { image, resize, inpaint_area: area } = this.values;
    return !image || Boolean(resize) || area === "masked";
  }

  /** The request to send: without a size that the picture to begin from would contradict. */
  request() {
    const { width, height, ...rest } = this.values;
    const size = this.hasSize ? { ...(width && { width }), ...(height && { height }) } : {};
    return { prompt: "", ...rest, ...size };
  }

  /** @param {string | null} name */
  keep(name) {
    sessionStorage.setItem(PLACE, written(this.values));
    for (const listener of this.listeners) listener(name);
  }
}
