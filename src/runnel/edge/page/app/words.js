/** The language of the page. Each module brings its own words, in all languages there are. */

/** @typedef {"en" | "pt"} Language */

/** @type {Language[]} */
export const LANGUAGES = ["en", "pt"];

/** The one chosen before, else the browser's. @type {Language} */
export const language = chosen();
document.documentElement.lang = language === "pt" ? "pt-BR" : "en";

/** Shows the page anew in another language. @param {Language} next */
export function choose(next) {
  localStorage.setItem("runnel.language", next);
  location.reload();
}

/**
 * A function that gives the text of a key, with `{name}` replaced by the values given. In
 * development a missing translation is a type error: `pt` has to have the keys of `en`.
 * @template {Record<string, string>} Words
 * @param {{ en: Words, pt: Record<keyof Words, string> }} all
 * @returns {(key: keyof Words, values?: Record<string, string | number>) => string}
 */
export function words(all) {
  const own = all[language];
  return (key, values = {}) =>
    own[key].replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export function formatted(value, options) {
  return new Intl.NumberFormat(document.documentElement.lang, options).format(value);
}

/** @returns {Language} */
function chosen() {
  const stored = localStorage.getItem("runnel.language");
  const wanted = [stored, ...navigator.languages].map((each) => each?.slice(0, 2));
  return (
    LANGUAGES.find((each) => each === wanted.find((one) => LANGUAGES.some((l) => l === one))) ??
    "en"
  );
}
