/** What is shown of a session, one item a message: those that are stored, and those on their way. */

/** @import { Answer } from "../../client.js" */
/** @import { Attached, Message, Status } from "./tree.js" */

/**
 * What was asked here and the server does not have yet.
 * @typedef {object} Asked
 * @property {string} key
 * @property {"ask" | "regenerate" | "edit"} kind
 * @property {string | null} after the message it follows; for `ask` whichever is the last then
 * @property {string} text
 * @property {Attached[]} attachments
 * @property {Answer} answer
 * @property {boolean} [resumed] it was asked before the page was loaded
 */

/**
 * One message to be shown. `key` stays the same from the asking on. `answer` is there while it is
 * being made, `asked` while the server does not have it. `place` of `places`: among those that
 * stand in its place on other branches.
 * @typedef {object} Item
 * @property {string} key
 * @property {"system" | "user" | "assistant"} role
 * @property {Status} status
 * @property {string} text
 * @property {Attached[]} attachments
 * @property {Message | null} message
 * @property {Answer | null} answer
 * @property {Asked | null} asked
 * @property {boolean} waits for the network, or for the answer before it
 * @property {number} place
 * @property {number} places
 * @property {boolean} last
 */

/** @param {Asked} asked @returns {Item} */
export function onItsWay(asked) {
  const { key, text, attachments } = asked;
  const role = asked.kind === "regenerate" ? "assistant" : "user";
  const item = { key, role, text, attachments, asked, message: null, answer: null };
  const waits = asked.answer.status === "queued";
  return /** @type {Item} */ ({
    ...item,
    waits,
    status: "queued",
    place: 0,
    places: 1,
    last: false,
  });
}

/** @param {Answer} answer @returns {Status} */
export function statusOf(answer) {
  if (answer.end?.type === "end") return "completed";
  if (answer.end?.type === "aborted") return "aborted";
  if (answer.end) return answer.end.code === "interrupted" ? "interrupted" : "failed";
  return answer.position === null ? "queued" : "running";
}
