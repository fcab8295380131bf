/** What was typed and not sent yet, by session: it outlives a reload of its tab, and nothing more. */

/** @import { Attached } from "./tree.js" */

/** @typedef {{ text: string, files: Attached[] }} Draft */

/** @param {string} userId @param {string | null} sessionId null: of a new one @returns {Draft} */
export function draftOf(userId, sessionId) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(keyOf(userId, sessionId)) ?? "null");
    return { text: String(kept?.text ?? ""), files: Array.isArray(kept?.files) ? kept.files : [] };
  } catch {
    return { text: "", files: [] };
  }
}

/** @param {string} userId @param {string | null} sessionId @param {Draft} draft */
export function keepDraft(userId, sessionId, draft) {
  const key = keyOf(userId, sessionId);
  try {
    if (draft.text === "" && draft.files.length === 0) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(draft));
  } catch {
    // There is no room: it is still in the composer.
  }
}

/** @param {string} userId @param {string | null} sessionId */
function keyOf(userId, sessionId) {
  return `runnel.draft.${userId}.${sessionId ?? "new"}`;
}
