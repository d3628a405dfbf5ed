/** The page: one form, one large view, one gallery, over the jobs of the server. */

import { json, keepToken, post, reasonOf, whenTokenIsNeeded } from "./api.js";
import { askForAll, cellsOf, keep, kept, makeAxes, showComparison } from "./compare.js";
import { Composer } from "./composer.js";
import { button, byId, dialog, fill, h, say } from "./dom.js";
import { Draft } from "./draft.js";
import { takePictures } from "./drop.js";
import { Feed, isLive } from "./feed.js";
import { Gallery, showQueue } from "./gallery.js";
import { showJob, showPicture, stateOf } from "./stage.js";
import { brush, followStart } from "./start.js";

/** @typedef {import("./api.js").Job} Job */

const EXAMPLES = [
  "a red apple",
  "pixel art of a mushroom",
  "a yellow umbrella on a blue background",
];
const COMPARISON = "comparison";

whenTokenIsNeeded(
  () =>
    new Promise((done) => {
      const token = h("input", {
        type: "password",
        id: "token",
        autocomplete: "current-password",
        required: true,
      });
      const stays = h("input", { type: "checkbox" });
      const made = dialog("This server asks for a token", (close) => [
        h(
          "form",
          {
            onsubmit: (/** @type {Event} */ event) => {
              event.preventDefault();
              keepToken(token.value.trim(), stays.checked);
              close();
            },
          },
          h("label", { for: "token" }, "Token"),
          token,
          h("label", {}, stays, " Keep it on this device"),
          h("div", { class: "bar" }, h("button", { type: "submit", class: "main" }, "Enter")),
        ),
      ]);
      made.addEventListener("cancel", (event) => event.preventDefault());
      made.addEventListener("close", () => done(undefined));
    }),
);

class Page {
  /** @param {any} facts the server's capabilities */
  constructor(facts) {
    this.draft = new Draft();
    this.composer = new Composer(facts, this.draft, () => this.ask());
    this.axes = makeAxes(facts.request.properties);
    this.composer.folds.push(this.axes.element);
    this.composer.render();
    followStart(this.draft, this.composer);
    takePictures(this.composer, this.actions);

    this.feed = new Feed((trouble) => this.render(trouble));
    this.gallery = new Gallery((id) => this.look(id));
    /** The jobs that this tab asked for, which the large view follows before others. */
    this.mine = new Set();
    /** Those of which the end was not told yet. */
    this.awaited = new Set();
    /** What the large view shows: a job's or picture's id, the comparison, or "": the newest. */
    this.view = location.hash.slice(1);
    /** What fits the large view to later facts, and what it was made for. */
    this.shown = { key: "", update: (/** @type {any} */ _) => {} };
    byId("older").addEventListener("click", () =>
      this.feed.older().catch((error) => this.complain(error)),
    );
    byId("comparison").addEventListener("click", () => this.look(COMPARISON));
    window.addEventListener("hashchange", () => this.look(location.hash.slice(1)));
    this.feed.start().then(() => this.look(this.view));
  }

  get actions() {
    return {
      look: (/** @type {string} */ id) => this.look(id),
      cancel: (/** @type {Job} */ job) => {
        if (this.shown.key === `job ${job.id}`) this.view = job.id; // it stays in view
        if (isLive(job)) return this.feed.cancel(job).catch((error) => this.complain(error));
        this.mine.delete(job.id); // a failure that was seen
        return this.render();
      },
      forget: (/** @type {Job} */ job) => {
        this.look("");
        this.feed.forget(job).catch((error) => this.complain(error));
      },
      again: (/** @type {any} */ values, /** @type {boolean} */ isNew) => {
        this.recall(isNew ? { ...values, seed: undefined } : values);
        if (isNew) this.ask();
      },
      recall: (/** @type {any} */ values) => this.recall(values),
      begin: (/** @type {string} */ name, /** @type {boolean} */ brushes) => {
        this.draft.change({ image: name, mask: null, image_name: null, extend: null });
        if (brushes) brush(this.draft).catch((error) => this.complain(error));
        else byId("start").scrollIntoView({ block: "nearest" });
      },
    };
  }

  /** Ask for the pictures of the form. */
  async ask() {
    this.composer.complain("");
    const request = this.draft.request();
    const axes = this.axes.axes();
    try {
      if (axes.length) await this.compare(request, axes);
      else {
        const job = await post("v1/jobs", request);
        this.mine.add(job.id);
        this.awaited.add(job.id);
        this.feed.add(job);
        this.look("");
      }
      say("Asked for");
    } catch (error) {
      this.complain(error);
    }
  }

  /** @type {(request: any, axes: import("./compare.js").Axis[]) => Promise<void>} */
  async compare(request, axes) {
    const cells = cellsOf(request, axes);
    /** @type {import("./compare.js").Comparison} */
    const comparison = { axes, jobs: cells.map(() => null), request };
    keep(comparison);
    this.comparison = comparison;
    this.shown.key = "";
    this.look(COMPARISON);
    await askForAll(comparison, cells, (job) => this.feed.add(job));
  }

  /** @param {any} values */
  recall(values) {
    const known = this.composer.schema;
    const { template, negative_template, ...rest } = values;
    const drawn = {
      ...rest,
      prompt: template ?? rest.prompt,
      negative_prompt: negative_template ?? rest.negative_prompt,
    };
    const { models } = this.composer.facts;
    const isHere = models.some((/** @type {any} */ model) => model.name === rest.model);
    if (!isHere) delete drawn.model;
    const lost = this.composer.dropMissing(drawn);
    this.draft.replace(Object.fromEntries(Object.entries(drawn).filter(([name]) => name in known)));
    const isOther = rest.model && !isHere;
    if (isOther) lost.unshift(`Its model is not served here: ${rest.model}`);
    this.composer.complain(lost.join(" "));
    this.axes.clear();
    byId("prompt").focus();
    byId("composer").scrollIntoView({ block: "nearest" });
  }

  /**
   * Look at a picture, a job or the comparison.
   *
   * @param {string} id
   */
  look(id) {
    this.view = id;
    history.replaceState(null, "", id ? `#${id}` : location.pathname);
    this.render();
    this.feed.find(id === COMPARISON ? (this.comparison?.jobs ?? []) : [id.split("-")[0]]);
  }

  /** @param {any} error */
  complain(error) {
    this.composer.complain(reasonOf(error), error.field);
  }

  // Within

  /** @param {string} [trouble] */
  render(trouble = this.feed.trouble) {
    byId("connection").textContent = trouble;
    const jobs = [...this.feed.jobs.values()];
    const live = this.feed.live;
    this.announce(jobs);
    const isOwnFailure = (/** @type {Job} */ each) =>
      each.state === "failed" && this.mine.has(each.id);
    const ended = jobs.find((each) => each.pictures.length || isOwnFailure(each));
    const newest = live.find((each) => this.mine.has(each.id)) ?? live[0] ?? ended;
    const view = this.view || newest?.id || "";
    const job = this.feed.jobs.get(view.split("-")[0]);
    const picture = this.pictureOf(view, job);

    const waiting = [...jobs.filter(isOwnFailure), ...live].filter(
      (each) => each !== job || picture,
    );
    showQueue(waiting, this.actions.cancel, this.actions.look);
    this.gallery.render(
      jobs.flatMap((each) => each.pictures),
      picture?.id ?? "",
    );
    byId("older").hidden = this.feed.next === null;
    this.comparison ??= kept() ?? undefined;
    byId("comparison").hidden = !this.comparison || view === COMPARISON;

    const stage = byId("stage");
    const key =
      view === COMPARISON
        ? view
        : picture
          ? `picture ${picture.id}`
          : job
            ? `job ${job.id}`
            : "none";
    if (key !== this.shown.key) {
      this.shown = { key, update: () => {} };
      if (view === COMPARISON && this.comparison) {
        this.shown.update = showComparison(
          stage,
          this.comparison,
          (id) => this.feed.jobs.get(id),
          this.actions,
        );
      } else if (picture && job) showPicture(stage, picture, job, this.actions);
      else if (job) this.shown.update = showJob(stage, job, this.actions);
      else this.welcome(stage);
    }
    this.shown.update(job);
    if (job && isLive(job)) this.feed.watch(job.id);
  }

  /**
   * Tell how far it is to those who look elsewhere, or listen.
   *
   * @param {Job[]} jobs
   */
  announce(jobs) {
    const running = jobs.find((job) => job.state === "running");
    const percent = running && Math.round(100 * running.progress);
    document.title = running ? `${percent} % · Sfumato` : "Sfumato";
    for (const job of jobs) {
      if (isLive(job) || !this.awaited.delete(job.id)) continue;
      say(job.state === "done" ? `Painted: ${job.request.prompt}` : stateOf(job));
    }
  }

  /**
   * The picture of a view: that of an id, or the only one of a job that is done.
   *
   * @param {string} view
   * @param {Job | undefined} job
   */
  pictureOf(view, job) {
    if (!job) return undefined;
    if (view.includes("-")) return job.pictures.find((each) => each.id === view);
    return job.pictures.length === 1 && !isLive(job) ? job.pictures[0] : undefined;
  }

  /** @param {HTMLElement} stage */
  welcome(stage) {
    const fillIn = (/** @type {string} */ words) => () => {
      this.draft.change({ prompt: words });
      this.ask();
    };
    fill(
      stage,
      h(
        "div",
        { class: "welcome" },
        h("p", {}, "Say what to paint, or drop a picture here. For example:"),
        h("div", { class: "bar" }, ...EXAMPLES.map((words) => button(words, fillIn(words)))),
      ),
    );
  }
}

try {
  const facts = await json("v1/capabilities");
  new Page(facts);
} catch (error) {
  byId("trouble").textContent = reasonOf(error);
}
