/** The brush: a mask is painted over a picture, with a pointer or with the keyboard. */

import { sourceOf } from "./api.js";
import { button, dialog, h } from "./dom.js";

const MOST_UNDO = 20;
const SHADE = "rgb(214 84 48)";

/**
 * @param {string} source
 * @returns {Promise<HTMLImageElement>}
 */
async function loaded(source) {
  const img = new Image();
  img.src = source;
  await img.decode();
  return img;
}

/**
 * Let the user paint a mask.
 *
 * @param {string} image the name of the picture
 * @param {string | undefined} mask that of the mask to go on with
 * @param {(painted: Blob | null) => Promise<void>} keep gets a PNG, white where it was painted, or
 *   null if nothing is; the brush stays until it is kept, so that no request goes without it
 */
export async function paintMask(image, mask, keep) {
  const picture = await loaded(await sourceOf(image));
  const canvas = h("canvas", {
    width: picture.naturalWidth,
    height: picture.naturalHeight,
    tabindex: 0,
    role: "application",
    "aria-label": "Mask. Arrow keys move the brush, space paints, E erases or paints, Z undoes.",
  });
  const brush = new Brush(canvas);
  if (mask) brush.take(await loaded(await sourceOf(mask)));

  dialog(
    "Paint over the part that shall change",
    (close) => {
      const size = h("input", {
        type: "range",
        min: 1,
        max: 50,
        value: 12,
        "aria-label": "Brush size",
      });
      size.addEventListener("input", () => brush.resize(Number(size.value)));
      brush.resize(12);
      const erase = h("input", {
        type: "checkbox",
        onchange: () => (brush.erases = erase.checked),
      });
      brush.toggled = () => (erase.checked = brush.erases);
      const use = button(
        "Use this mask",
        async () => {
          use.disabled = true;
          try {
            await keep(await brush.blob());
            close();
          } finally {
            use.disabled = false;
          }
        },
        { class: "main" },
      );
      return [
        h(
          "div",
          { class: "easel" },
          h("img", { src: picture.src, alt: "The picture" }),
          canvas,
          brush.ring,
        ),
        h(
          "div",
          { class: "bar" },
          h("label", {}, "Brush ", size),
          h("label", {}, erase, " Erase"),
          button("Undo", () => brush.undo()),
          button("Clear", () => brush.clear()),
          button("Invert", () => brush.invert()),
          h("span", { class: "gap" }),
          button("Cancel", close),
          use,
        ),
      ];
    },
    "brush",
  );
  canvas.focus();
}

class Brush {
  /** @param {HTMLCanvasElement} canvas shows the mask: its alpha is what counts */
  constructor(canvas) {
    this.canvas = canvas;
    this.ring = h("span", { class: "ring", "aria-hidden": "true" });
    this.context = /** @type {CanvasRenderingContext2D} */ (
      canvas.getContext("2d", { willReadFrequently: true })
    );
    /** @type {ImageData[]} */
    this.before = [];
    this.radius = 1;
    this.erases = false;
    this.toggled = () => {};
    this.at = { x: canvas.width / 2, y: canvas.height / 2 };
    /** @type {{x: number, y: number} | null} */
    this.last = null;

    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.keep();
      this.move(event);
      this.stroke();
    });
    canvas.addEventListener("pointermove", (event) => {
      this.move(event);
      if (this.last) this.stroke();
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, () => (this.last = null));
    canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** @param {number} percent of the shorter side */
  resize(percent) {
    this.radius = (Math.min(this.canvas.width, this.canvas.height) * percent) / 200;
    this.mark();
  }

  /** @param {PointerEvent} event */
  move(event) {
    const box = this.canvas.getBoundingClientRect();
    this.at = {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
    this.mark();
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = /** @type {Record<string, number[]>} */ (steps)[event.key];
    if (step) {
      const far = Math.max(1, this.radius / 2);
      this.at.x = Math.min(this.canvas.width, Math.max(0, this.at.x + step[0] * far));
      this.at.y = Math.min(this.canvas.height, Math.max(0, this.at.y + step[1] * far));
      this.mark();
    } else if (event.key === " ") {
      this.keep();
      this.stroke();
      this.last = null;
    } else if (event.key === "e") {
      this.erases = !this.erases;
      this.toggled();
    } else if (event.key === "z") this.undo();
    else return;
    event.preventDefault();
  }

  /** Paint from the last place to this one. */
  stroke() {
    const { context, at } = this;
    const from = this.last ?? at;
    context.globalCompositeOperation = this.erases ? "destination-out" : "source-over";
    context.strokeStyle = SHADE;
    context.lineCap = "round";
    context.lineWidth = 2 * this.radius;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(at.x, at.y);
    context.stroke();
    this.last = { ...at };
  }

  /** Show where the brush is. */
  mark() {
    const { width, height } = this.canvas;
    this.ring.style.left = `${(100 * this.at.x) / width}%`;
    this.ring.style.top = `${(100 * this.at.y) / height}%`;
    this.ring.style.width = `${(200 * this.radius) / width}%`;
    this.ring.classList.toggle("erases", this.erases);
  }

  get pixels() {
    return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  keep() {
    this.before.push(this.pixels);
    if (this.before.length > MOST_UNDO) this.before.shift();
  }

  undo() {
    const before = this.before.pop();
    if (before) this.context.putImageData(before, 0, 0);
  }

  clear() {
    this.keep();
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  invert() {
    this.keep();
    this.each((alpha) => 255 - alpha);
  }

  /**
   * Go on with a mask: black and white, in the size of the picture.
   *
   * @param {HTMLImageElement} mask
   */
  take(mask) {
    this.context.drawImage(mask, 0, 0, this.canvas.width, this.canvas.height);
    this.each((_, red) => red);
  }

  /** @param {(alpha: number, red: number) => number} change gives the new alpha of a pixel */
  each(change) {
    const shown = this.pixels;
    const shade = [214, 84, 48];
    for (let i = 0; i < shown.data.length; i += 4) {
      const alpha = change(shown.data[i + 3], shown.data[i]);
      shown.data.set([...shade, alpha], i);
    }
    this.context.putImageData(shown, 0, 0);
  }

  /** The mask as a PNG: white where it was painted. @returns {Promise<Blob | null>} */
  blob() {
    const { canvas } = this;
    const flat = h("canvas", { width: canvas.width, height: canvas.height });
    const context = /** @type {CanvasRenderingContext2D} */ (flat.getContext("2d"));
    const pixels = this.pixels;
    let painted = 0;
    for (let i = 0; i < pixels.data.length; i += 4) {
      const white = pixels.data[i + 3] > 127 ? 255 : 0;
      painted += white;
      pixels.data.set([white, white, white, 255], i);
    }
    context.putImageData(pixels, 0, 0);
    if (!painted) return Promise.resolve(null);
    return new Promise((done) => flat.toBlob(done, "image/png"));
  }
}
