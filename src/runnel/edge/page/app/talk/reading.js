/** Reads all that was said in a session, page by page. */

/** @import { RunnelClient } from "../../client.js" */
/** @import { Message } from "./tree.js" */

const PAGE_MESSAGES = 500;

/** @param {RunnelClient} client @param {string} sessionId @param {() => boolean} stopped */
export async function allMessages(client, sessionId, stopped) {
  /** @type {Message[]} */
  const all = [];
  /** @type {string | undefined} */
  let cursor;
  do {
    const query = { tree: true, limit: PAGE_MESSAGES, cursor };
    const page = await client.sessions.messages(sessionId, query);
    all.push(...page.messages);
    cursor = page.next_cursor ?? undefined;
  } while (cursor && !stopped());
  return all;
}
