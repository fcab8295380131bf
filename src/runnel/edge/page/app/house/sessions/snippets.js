/** What a search found, as the server shows it: HTML that is text but for its `<mark>`s. */

import { h } from "../../dom.js";

/** As the server escapes text. */
const CHARACTERS = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'" };
const ESCAPED = new RegExp(Object.keys(CHARACTERS).join("|"), "g");

/** @param {string} snippet @returns {(string | HTMLElement)[]} whatever else it has stays text */
export function piecesOf(snippet) {
  return snippet
    .split(/(<mark>.*?<\/mark>)/s)
    .filter((piece) => piece !== "")
    .map((piece) => {
      const marked = /^<mark>(.*)<\/mark>$/s.exec(piece);
      return marked ? h("mark", {}, plain(marked[1])) : plain(piece);
    });
}

/** @param {string} html */
function plain(html) {
  return html.replace(
    ESCAPED,
    (found) => CHARACTERS[/** @type {keyof typeof CHARACTERS} */ (found)],
  );
}
