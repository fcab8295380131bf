/** When something was, as one would say it. */

import { language, words } from "../../words.js";

const t = words({ en: { now: "now" }, pt: { now: "agora" } });

const LOCALE = language === "pt" ? "pt-BR" : "en";
const RELATIVE = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto", style: "short" });
const DAY = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const DATE = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });
const EXACT = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAYS = 24 * HOUR;

/** @param {string} time @param {number} [now] */
export function relative(time, now = Date.now()) {
  const then = Date.parse(time);
  const past = now - then;
  if (past < MINUTE) return t("now");
  if (past < HOUR) return RELATIVE.format(-Math.floor(past / MINUTE), "minute");
  if (past < DAYS) return RELATIVE.format(-Math.floor(past / HOUR), "hour");
  if (past < 7 * DAYS) return RELATIVE.format(-Math.floor(past / DAYS), "day");
  const sameYear = new Date(then).getFullYear() === new Date(now).getFullYear();
  return (sameYear ? DAY : DATE).format(then);
}

/** @param {string} time */
export function exact(time) {
  return EXACT.format(new Date(time));
}
