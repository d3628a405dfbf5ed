/**
 * The jobs of the server, whoever asked for them: other tabs and other clients, too.
 *
 * The list is asked for again and again. Only one job, the one that is painted, is listened to: a
 * browser has six connections for a server, and its tabs share them.
 */

import { ApiError, call, json, listen } from "./api.js";

/** @typedef {import("./api.js").Job} Job */

const BUSY = 1200;
const IDLE = 6000;
const PAGE = 24;
const JOB = /^[0-9a-f]{24}$/;
const ENDS = ["done", "failed", "cancelled"];

/** @param {Job} job */
export const isLive = (job) => !ENDS.includes(job.state);

export class Feed {
  /** @param {(trouble: string) => void} changed is called after each change */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, Job>} the newest first */
    this.jobs = new Map();
    /** @type {number | null} where older jobs begin */
    this.next = null;
    /** @type {{id: string, stop: AbortController} | null} */
    this.heard = null;
    /** The job that is looked at, which is listened to before others. */
    this.watched = "";
    this.timer = 0;
    this.trouble = "";
  }

  /** Read the first page, and go on for as long as the page is seen. */
  async start() {
    await this.refresh();
    document.addEventListener("visibilitychange", () => this.refresh());
    window.addEventListener("focus", () => this.refresh());
  }

  get live() {
    return [...this.jobs.values()].filter(isLive).reverse();
  }

  /**
   * Take a job that was just asked for.
   *
   * @param {Job} job
   */
  add(job) {
    this.take([job]);
    this.tell();
    this.plan();
  }

  /** Ask for the newest jobs, and for those that have not ended. */
  async refresh() {
    clearTimeout(this.timer);
    if (document.hidden) {
      this.heard?.stop.abort();
      return;
    }
    try {
      const before = [...this.jobs.values()];
      const page = await json(`v1/jobs?limit=${PAGE}`);
      if (!before.length) this.next = page.next;
      const seen = new Set(page.jobs.map((/** @type {Job} */ job) => job.id));
      const oldest = page.next === null ? 0 : page.jobs.at(-1).created;
      for (const job of before) {
        // Somebody deleted it.
        if (!isLive(job) && job.created > oldest && !seen.has(job.id)) this.jobs.delete(job.id);
      }
      const left = this.live.filter((job) => !seen.has(job.id));
      const others = await Promise.all(left.map((job) => this.look(job.id)));
      this.take([...page.jobs, ...others.filter((job) => job !== null)]);
      this.trouble = "";
    } catch (error) {
      this.trouble = error instanceof ApiError ? error.message : "The server does not answer.";
    }
    this.tell();
    this.plan();
  }

  /**
   * One job as it stands; null if it is forgotten.
   *
   * @param {string} id
   * @returns {Promise<Job | null>}
   */
  async look(id) {
    try {
      return await json(`v1/jobs/${id}`);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      this.jobs.delete(id);
      return null;
    }
  }

  /** Read the next page of older jobs. */
  async older() {
    if (this.next === null) return;
    const page = await json(`v1/jobs?limit=${PAGE}&before=${this.next}`);
    this.next = page.next;
    this.take(page.jobs);
    this.tell();
  }

  /**
   * Read jobs that are on none of the pages so far.
   *
   * @param {(string | null)[]} ids
   */
  async find(ids) {
    const missing = ids.filter((id) => id && JOB.test(id) && !this.jobs.has(id));
    const found = await Promise.all(missing.map((id) => this.look(id ?? "").catch(() => null)));
    this.take(found.filter((job) => job !== null));
    if (missing.length) this.tell();
  }

  /** @param {Job} job */
  async cancel(job) {
    this.take([await json(`v1/jobs/${job.id}`, { method: "DELETE" })]);
    this.tell();
  }

  /**
   * Delete a job and its pictures.
   *
   * @param {Job} job
   */
  async forget(job) {
    await call(`v1/jobs/${job.id}?forget=true`, { method: "DELETE" });
    this.jobs.delete(job.id);
    this.tell();
  }

  // Within

  /** @param {Job[]} jobs */
  take(jobs) {
    for (const job of jobs) {
      const known = this.jobs.get(job.id);
      if (known && !isLive(known) && isLive(job)) continue; // an answer that was overtaken
      this.jobs.set(job.id, { ...job, step: isLive(job) ? known?.step : undefined });
    }
    const sorted = [...this.jobs].sort(([, a], [, b]) => b.created - a.created);
    this.jobs = new Map(sorted);
  }

  tell() {
    this.changed(this.trouble);
  }

  /**
   * Look at a job.
   *
   * @param {string} id
   */
  watch(id) {
    if (id === this.watched) return;
    this.watched = id;
    this.plan();
  }

  /** Listen to the job that is looked at or painted, and look again later. */
  plan() {
    clearTimeout(this.timer);
    const live = this.live;
    this.timer = setTimeout(() => this.refresh(), live.length && !this.trouble ? BUSY : IDLE);
    const watched = live.find((job) => job.id === this.watched);
    const first = watched ?? live.find((job) => job.state === "running") ?? live[0];
    if (!first || this.heard?.id === first.id || document.hidden) return;
    this.heard?.stop.abort();
    this.hear(first.id);
  }

  /** @param {string} id */
  async hear(id) {
    const heard = { id, stop: new AbortController() };
    const { signal } = heard.stop;
    this.heard = heard;
    try {
      await listen(id, (name, data) => this.happened(id, name, data), signal);
    } catch {
      // It was stopped, or the connection broke: the next look begins again.
    }
    if (this.heard === heard) this.heard = null;
    const job = this.jobs.get(id);
    if (job && !isLive(job)) this.plan(); // to the next one
  }

  /**
   * @param {string} id
   * @param {string} name
   * @param {any} data
   */
  happened(id, name, data) {
    const job = this.jobs.get(id);
    if (!job) return;
    if (ENDS.includes(name)) this.take([data]);
    else if (name === "started" || name === "loading") job.state = "running";
    else if (name === "step") {
      job.state = "running";
      job.step = data;
      const made = job.pictures.length + (data.pictures.length * data.step) / data.steps;
      job.progress = Math.min(1, made / (job.request.count ?? 1));
    } else if (name === "picture" && !job.pictures.some((each) => each.id === data.id)) {
      job.pictures.push(data);
      job.step = undefined;
    } else return;
    this.tell();
  }
}
