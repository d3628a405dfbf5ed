/** The picture to begin from: its thumbnail, how much of it stays, the part to paint again. */

import { send, show } from "./api.js";
import { FROM_PICTURE } from "./composer.js";
import { button, byId, fill, h } from "./dom.js";
import { paintMask } from "./mask.js";

/**
 * Show the picture of the draft, and its controls, for as long as it has one.
 *
 * @param {import("./draft.js").Draft} draft
 * @param {import("./composer.js").Composer} composer
 */
export function followStart(draft, composer) {
  const place = byId("start");
  const render = () => {
    const { image, mask } = draft.values;
    const hadFocus = place.contains(document.activeElement);
    place.hidden = !image;
    byId("begin").textContent = image ? "Another picture" : "Add a picture";
    if (!image) return fill(place);

    const names = Object.entries(composer.schema)
      .filter(
        ([name, each]) => each["x-group"] === FROM_PICTURE && !["image", "mask"].includes(name),
      )
      .map(([name]) => name);
    const [first, ...rest] = names.sort((a) => (a === "strength" ? -1 : 0));
    const seen = h(
      "div",
      { class: "seen" },
      show(h("img", { alt: "The picture to begin from" }), image),
    );
    if (mask)
      seen.append(
        show(h("img", { alt: "The part to paint again, in white", class: "mask" }), mask),
      );
    fill(
      place,
      seen,
      h(
        "div",
        { class: "fields" },
        first && composer.field(first).element,
        h(
          "div",
          { class: "bar wide" },
          button(mask ? "Change the mask" : "Paint over a part", () => brush(draft)),
          mask && button("Remove the mask", () => draft.change({ mask: null })),
          button("Remove the picture", () => remove(draft)),
        ),
        h(
          "details",
          { class: "wide" },
          h("summary", {}, "More about the picture"),
          h("div", { class: "fields" }, ...rest.map((name) => composer.field(name).element)),
        ),
      ),
    );
    if (hadFocus) place.querySelector("button")?.focus();
    return undefined;
  };
  draft.listen((name) => name === null && render());
  render();
}

/**
 * Let the user paint the mask of the draft's picture.
 *
 * @param {import("./draft.js").Draft} draft
 */
export async function brush(draft) {
  const { image, mask } = draft.values;
  await paintMask(image, mask, async (painted) => {
    const sent = painted && (await send("v1/uploads?mask=true", painted));
    draft.change({ mask: sent?.id ?? null });
  });
}

/** @param {import("./draft.js").Draft} draft */
function remove(draft) {
  draft.change({
    image: null,
    mask: null,
    image_name: null,
    strength: null,
    extend: null,
    resize: null,
  });
  byId("begin").focus();
}
