/** Elements made in code. Text is always text: nothing here, or elsewhere, reads HTML. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An element with attributes, listeners such as `onclick`, and children.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [given]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name === "value") /** @type {any} */ (made).value = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, String(value));
    }
  }
  fill(made, ...children);
  return made;
}

/**
 * Replace the children of an element.
 *
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren(.../** @type {(Node | string)[]} */ (children.filter(Boolean)));
}

/**
 * The element of the page with an id.
 *
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * A button of the quiet sort.
 *
 * @param {string} text
 * @param {(event: Event) => any} onclick
 * @param {Record<string, any>} [given]
 */
export const button = (text, onclick, given = {}) =>
  h("button", { type: "button", class: "quiet", onclick, ...given }, text);

/**
 * Say something to who listens instead of looking.
 *
 * @param {string} text
 */
export function say(text) {
  byId("said").textContent = text;
}

/**
 * Copy text, and say so on the button for a moment.
 *
 * @param {string} text
 * @param {HTMLElement} pressed
 */
export async function copy(text, pressed) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Away from localhost and without TLS there is no clipboard; the older way works.
    const area = h("textarea", { value: text, class: "unseen" });
    pressed.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    pressed.focus();
  }
  const before = pressed.textContent;
  pressed.textContent = "Copied";
  say("Copied");
  setTimeout(() => (pressed.textContent = before), 1200);
}

/**
 * Show a dialog; it is gone when it closes.
 *
 * @param {string} title
 * @param {(close: () => void) => Child[]} content
 * @param {string} [kind] a class
 * @returns {HTMLDialogElement}
 */
export function dialog(title, content, kind = "") {
  const made = h("dialog", { "aria-label": title, class: kind });
  made.addEventListener("close", () => made.remove());
  fill(made, h("h2", {}, title), ...content(() => made.close()));
  document.body.append(made);
  made.showModal();
  return made;
}
