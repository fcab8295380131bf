/** The params of the next questions: how they are written in fields, and which of them hold. */

/** @typedef {"temperature" | "top_p" | "max_tokens" | "seed"} NumberParam */

/**
 * What the server takes, so that it is told where it is written.
 * @type {Record<NumberParam, { min: number, max: number, step: "any" | 1, above?: boolean }>}
 */
export const NUMBERS = {
  temperature: { min: 0, max: 2, step: "any" },
  top_p: { min: 0, max: 1, step: "any", above: true },
  max_tokens: { min: 1, max: 10_000_000, step: 1 },
  // The server takes more, which no number of JavaScript is exact for.
  seed: { min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER, step: 1 },
};

export const MOST_STOPS = 16;
export const MOST_STOP_CHARACTERS = 256;

/** @param {NumberParam} name @param {string} text @returns {number | null} null: it does not hold */
export function numberOf(name, text) {
  const { min, max, step, above } = NUMBERS[name];
  const value = Number(text.trim().replace(",", "."));
  const holds =
    Number.isFinite(value) &&
    (above ? value > min : value >= min) &&
    value <= max &&
    (step === "any" || Number.isInteger(value));
  return holds ? value : null;
}

/** One a line; `\n` and `\t` are written so. @param {string} text */
export function stopsOf(text) {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.replace(/\\([nt\\])/g, (_, letter) => ESCAPES[letter]));
}

/** @param {unknown} stops */
export function stopsText(stops) {
  if (!Array.isArray(stops)) return "";
  return stops
    .map((stop) => String(stop).replace(/[\n\t\\]/g, (each) => `\\${LETTERS[each]}`))
    .join("\n");
}

/** @type {Record<string, string>} */
const ESCAPES = { n: "\n", t: "\t", "\\": "\\" };
/** @type {Record<string, string>} */
const LETTERS = { "\n": "n", "\t": "t", "\\": "\\" };
