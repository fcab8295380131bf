/** A session as a file: what the server makes of it is saved by the browser. */

import { h } from "../../dom.js";

/** @import { RunnelClient } from "../../../client.js" */

/** @typedef {"markdown" | "text" | "json" | "jsonl"} Format */

/** @type {Format[]} */
export const FORMATS = ["markdown", "text", "json", "jsonl"];

/** How the names of such files end. */
const ENDINGS = { markdown: "md", text: "txt", json: "json", jsonl: "jsonl" };

/** Raises RunnelError. @param {RunnelClient} client @param {any} session @param {Format} format */
export async function download(client, session, format) {
  const response = await client.sessions.export({ sessionId: session.session_id, format });
  const address = URL.createObjectURL(await response.blob());
  const name = `${fileNameOf(session)}.${ENDINGS[format]}`;
  h("a", { href: address, download: name }).click();
  // The browser has begun to save it by the next turn, but says nowhere when it is done.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Of letters and digits, which no system minds. @param {any} session */
function fileNameOf(session) {
  const words = String(session.title ?? "").match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.join("-").slice(0, 60) || `session-${session.session_id}`;
}
