/** The native API. All paths are relative, so that the page works under any sub-path. */

/**
 * @typedef {{id: string, place: number, width: number, height: number, seed: number,
 *   request: Values, recipe: string, flags: string[]}} Picture
 * @typedef {{step: number, steps: number, pictures: number[], previews: string[]}} Step
 * @typedef {Record<string, any>} Values the fields of a request
 * @typedef {{id: string, state: string, model: string, created: number, progress: number,
 *   request: Values, pictures: Picture[], position?: number, error?: {code: string,
 *   message: string}, step?: Step}} Job
 */

const TOKEN = "sfumato-token";
let token = sessionStorage.getItem(TOKEN) ?? localStorage.getItem(TOKEN) ?? "";

/** @type {() => Promise<void>} */
let askForToken = () => Promise.reject(new Error("no token"));
/** @type {Promise<void> | null} */
let asking = null;

/** An answer that is an error. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{message?: string, code?: string, param?: string | null}} error
   * @param {number} retry seconds after which to try again
   */
  constructor(status, error, retry = 0) {
    super(error.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = error.code ?? "";
    this.field = error.param ?? null;
    this.retry = retry;
  }
}

/**
 * What to tell of an error; fetch throws a TypeError where nobody answers.
 *
 * @param {any} error
 * @returns {string}
 */
export const reasonOf = (error) =>
  error instanceof TypeError ? "The server does not answer." : error.message;

/**
 * Set what asks the user for the token.
 *
 * @param {() => Promise<void>} ask
 */
export function whenTokenIsNeeded(ask) {
  askForToken = ask;
}

/**
 * Keep the token: of this tab, or on this device.
 *
 * @param {string} given
 * @param {boolean} stays
 */
export function keepToken(given, stays) {
  token = given;
  sessionStorage.setItem(TOKEN, given);
  if (stays) localStorage.setItem(TOKEN, given);
  else localStorage.removeItem(TOKEN);
}

/**
 * Call the API; asks for the token where one is needed.
 *
 * @param {string} path
 * @param {RequestInit} [given]
 * @returns {Promise<Response>}
 */
export async function call(path, given = {}) {
  const headers = new Headers(given.headers);
  const shown = token;
  if (shown) headers.set("Authorization", `Bearer ${shown}`);
  const answer = await fetch(path, { ...given, headers });
  if (answer.status === 401) {
    if (shown === token) {
      asking ??= askForToken().finally(() => (asking = null));
      await asking;
    }
    return call(path, given);
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    const retry = Number(answer.headers.get("retry-after") ?? 0);
    throw new ApiError(answer.status, body.error ?? {}, retry);
  }
  return answer;
}

/**
 * What JSON says; whole numbers beyond those of JavaScript, such as seeds, are BigInts.
 *
 * @param {string} text
 */
export const parse = (text) =>
  JSON.parse(
    text,
    /** @type {any} */ (
      (/** @type {string} */ _, /** @type {any} */ value, /** @type {any} */ context) =>
        typeof value === "number" &&
        Number.isInteger(value) &&
        !Number.isSafeInteger(value) &&
        /^-?\d+$/.test(context?.source ?? "")
          ? BigInt(context.source)
          : value
    ),
  );

/**
 * The JSON that `parse` reads.
 *
 * @param {any} value
 * @returns {string}
 */
export const written = (value) =>
  JSON.stringify(value, (_, each) => {
    if (typeof each !== "bigint") return each;
    const { rawJSON } = /** @type {any} */ (JSON);
    return rawJSON ? rawJSON(String(each)) : Number(each);
  });

/**
 * @param {string} path
 * @param {RequestInit} [given]
 */
export const json = async (path, given) => parse(await (await call(path, given)).text());

/**
 * Send JSON.
 *
 * @param {string} path
 * @param {any} value
 */
export const post = (path, value) =>
  json(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: written(value),
  });

/**
 * Send a picture.
 *
 * @param {string} path
 * @param {Blob} file
 */
export const send = (path, file) =>
  json(path, { method: "POST", headers: { "Content-Type": file.type }, body: file });

/**
 * The path of a picture of the server: "upload:ID", "picture:ID" or the id of a picture.
 *
 * @param {string} name
 */
export function placeOf(name) {
  const [kind, id] = name.includes(":") ? name.split(":", 2) : ["picture", name];
  return `v1/${kind}s/${encodeURIComponent(id)}`;
}

/** @type {Map<string, Promise<string>>} */
const sources = new Map();

/**
 * What an `img` shows: a path, or where a token must be sent along, what was fetched with it.
 *
 * @param {string} name
 * @returns {Promise<string>}
 */
export async function sourceOf(name) {
  if (name.startsWith("data:") || !token) return name.startsWith("data:") ? name : placeOf(name);
  const known = sources.get(name);
  if (known) return known;
  const made = call(placeOf(name))
    .then((answer) => answer.blob())
    .then((blob) => URL.createObjectURL(blob));
  sources.set(name, made);
  made.catch(() => sources.delete(name));
  return made;
}

/**
 * Show a picture of the server in an `img`.
 *
 * @param {HTMLImageElement} img
 * @param {string} name
 */
export function show(img, name) {
  if (img.dataset.name === name) return img;
  img.dataset.name = name;
  sourceOf(name).then(
    (source) => img.dataset.name === name && (img.src = source),
    () => img.removeAttribute("src"),
  );
  return img;
}

/**
 * Read the events of a job as they come.
 *
 * @param {string} job
 * @param {(name: string, data: any) => void} tell
 * @param {AbortSignal} signal
 */
export async function listen(job, tell, signal) {
  const answer = await call(`v1/jobs/${job}/events`, { signal });
  const reader = /** @type {ReadableStream} */ (answer.body)
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value.replaceAll("\r", "")).split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      /** @type {Record<string, string>} */
      const event = {};
      for (const line of block.split("\n")) {
        const [name, ...rest] = line.split(": ");
        event[name] = rest.join(": ");
      }
      if (event.event && event.data) tell(event.event, parse(event.data));
    }
  }
}
