/** Pictures that come in, dropped, pasted or chosen: to recall their recipe or to begin from. */

import { ApiError, reasonOf, send } from "./api.js";
import { button, byId, dialog, h } from "./dom.js";

export const KINDS = ["image/png", "image/jpeg", "image/webp"];

/**
 * Send a picture to the server; returns its name there.
 *
 * @param {File} file
 * @returns {Promise<string>}
 */
export async function upload(file) {
  check(file);
  return (await send("v1/uploads", file)).id;
}

/**
 * Take what is dropped or pasted at an element, which then goes nowhere else.
 *
 * @param {HTMLElement} element
 * @param {(file: File) => void} take
 */
export function takeAt(element, take) {
  /** @type {(event: Event, file: File | undefined) => void} */
  const taken = (event, file) => {
    if (!file) return;
    event.preventDefault();
    take(file);
  };
  element.classList.add("takes");
  element.addEventListener("drop", (event) => taken(event, event.dataTransfer?.files[0]));
  element.addEventListener("paste", (event) => taken(event, pasted(event)));
}

/**
 * Take pictures that come in, wherever they are dropped.
 *
 * @param {import("./composer.js").Composer} composer
 * @param {import("./stage.js").Actions} actions
 */
export function takePictures(composer, actions) {
  const choose = byId("file");
  byId("begin").addEventListener("click", () => choose.click());
  choose.addEventListener("change", () => {
    take(choose.files[0]);
    choose.value = "";
  });
  const hasFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const mark = () => document.body.classList.toggle("dropping", depth > 0);
  document.addEventListener("dragenter", (event) => {
    if (hasFile(event)) depth += 1;
    mark();
  });
  document.addEventListener("dragleave", (event) => {
    if (hasFile(event)) depth -= 1;
    mark();
  });
  document.addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    const isTaken = event.defaultPrevented;
    event.preventDefault();
    depth = 0;
    mark();
    if (!isTaken) take(event.dataTransfer?.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = pasted(event);
    if (!file || event.defaultPrevented) return;
    event.preventDefault();
    take(file);
  });

  /** @param {File | undefined} file */
  async function take(file) {
    if (!file) return;
    composer.complain("");
    try {
      check(file);
      const told = await send("v1/recipes", file).catch((error) => {
        if (error instanceof ApiError && error.code === "not_found") return {}; // it has none
        throw error;
      });
      if (told.request) return ask(file, told, actions, composer);
      if (told.error) composer.complain(told.error);
      return await begin(file, actions, false);
    } catch (error) {
      return composer.complain(reasonOf(error));
    }
  }
}

/** @param {File} file */
function check(file) {
  if (!KINDS.includes(file.type)) throw new Error("A picture must be PNG, JPEG or WebP.");
}

/** @param {ClipboardEvent} event */
const pasted = (event) =>
  [...(event.clipboardData?.files ?? [])].find((each) => KINDS.includes(each.type));

/**
 * @param {File} file
 * @param {import("./stage.js").Actions} actions
 * @param {boolean} brush
 */
async function begin(file, actions, brush) {
  actions.begin(await upload(file), brush);
}

/**
 * Ask what to do with a picture that has a recipe.
 *
 * @param {File} file
 * @param {any} told
 * @param {import("./stage.js").Actions} actions
 * @param {import("./composer.js").Composer} composer
 */
function ask(file, told, actions, composer) {
  const source = URL.createObjectURL(file);
  const made = dialog("This picture has a recipe", (close) => {
    const run = (/** @type {() => any} */ action) => async () => {
      close();
      try {
        await action();
      } catch (error) {
        composer.complain(reasonOf(error));
      }
    };
    const unread = Object.keys(told.unread ?? {});
    return [
      h("img", { src: source, alt: "", class: "thumb" }),
      h("p", { class: "prompt" }, told.request.prompt),
      unread.length > 0 && h("p", { class: "help" }, `Not read: ${unread.join(", ")}`),
      h(
        "div",
        { class: "bar" },
        button(
          "Recall the recipe",
          run(() => actions.recall({ ...told.request, ...told.without_pictures })),
          { class: "main", autofocus: true },
        ),
        button(
          "Begin from it",
          run(() => begin(file, actions, false)),
        ),
        button(
          "Paint over a part",
          run(() => begin(file, actions, true)),
        ),
        button("Cancel", close),
      ),
    ];
  });
  made.addEventListener("close", () => URL.revokeObjectURL(source));
}
