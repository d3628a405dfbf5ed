/** Values as text, where a user writes them. */

/**
 * The number that a text is; the text if it is none, about which the server will complain.
 *
 * @param {string} text
 */
export function asNumber(text) {
  if (/^\d+$/.test(text) && !Number.isSafeInteger(Number(text))) return BigInt(text);
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

/**
 * Numbers or words by name, as in "eta=0.5, order=2".
 *
 * @param {string} text
 * @param {RegExp} between what stands between two of them
 * @returns {Record<string, any>}
 */
export function pairsOf(text, between = /,/) {
  const lines = text.split(between).filter((line) => line.trim());
  return Object.fromEntries(
    lines.map((line) => {
      const [name, ...rest] = line.split("=");
      return [name.trim(), asNumber(rest.join("=").trim())];
    }),
  );
}

/**
 * The text that `pairsOf` reads.
 *
 * @param {Record<string, any>} pairs
 * @param {string} between
 */
export const textOf = (pairs, between = ", ") =>
  Object.entries(pairs)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join("|") : value}`)
    .join(between);
