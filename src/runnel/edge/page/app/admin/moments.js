/** Times, sizes and amounts as people read them. */

import { formatted } from "../words.js";

const language = () => document.documentElement.lang;

/** @param {string} moment */
export function day(moment) {
  return new Intl.DateTimeFormat(language(), { dateStyle: "medium" }).format(new Date(moment));
}

/** @param {string} moment */
export function dayAndTime(moment) {
  const options = /** @type {const} */ ({ dateStyle: "short", timeStyle: "short" });
  return new Intl.DateTimeFormat(language(), options).format(new Date(moment));
}

/** The beginning of an hour or of a day in UTC. @param {string} moment @param {"hour" | "day"} by */
export function spell(moment, by) {
  /** @type {Intl.DateTimeFormatOptions} */
  const options =
    by === "day"
      ? { day: "2-digit", month: "short", timeZone: "UTC" }
      : { hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(language(), options).format(new Date(moment));
}

/** @param {number} bytes */
export function size(bytes) {
  const units = /** @type {const} */ (["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"]);
  let at = 0;
  let amount = bytes;
  while (amount >= 1000 && at < units.length - 1) {
    amount /= 1000;
    at += 1;
  }
  const digits = at && amount < 10 ? 1 : 0;
  return formatted(amount, {
    style: "unit",
    unit: units[at],
    unitDisplay: at ? "short" : "long",
    maximumFractionDigits: digits,
  });
}

/** @param {number} value */
export function short(value) {
  return formatted(value, { notation: "compact", maximumFractionDigits: 1 });
}

/** @param {number | null} cost */
export function amount(cost) {
  return cost === null ? "–" : formatted(cost, { maximumSignificantDigits: 3 });
}

/** @param {number | null} ms */
export function duration(ms) {
  if (ms === null) return "–";
  if (ms < 1000) return `${formatted(Math.round(ms))} ms`;
  return `${formatted(ms / 1000, { maximumFractionDigits: 1 })} s`;
}
