/** Into the clipboard, and tells whoever cannot see it that it is there. */

import { h } from "../dom.js";

const note = h("div", { role: "status", class: "copying-note" });

/**
 * @param {string} text @param {{ done: string, failed: string }} notes
 * @returns {Promise<boolean>} is it there?
 */
export async function copy(text, notes) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copyBySelection(text); // over plain http there is no other way
  }
  if (!note.isConnected) document.body.append(note);
  note.textContent = "";
  // The same words again are read again only if they were gone.
  setTimeout(() => (note.textContent = done ? notes.done : notes.failed), 50);
  return done;
}

/** @param {string} text */
function copyBySelection(text) {
  const focused = document.activeElement;
  const area = h("textarea", { class: "copying-note", readonly: true, "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return done;
}
