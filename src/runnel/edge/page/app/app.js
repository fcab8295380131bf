/** What the parts of the page are given to work with. */

/** @import { RunnelClient } from "../client.js" */
/** @import { Draft } from "./talk/drafts.js" */

/**
 * What the next question is asked with. `params` has only what was set.
 * @typedef {object} Options
 * @property {string | null} model an alias; null for the session's, else the server's default
 * @property {Record<string, unknown>} params
 */

/**
 * @typedef {object} App
 * @property {RunnelClient} client
 * @property {{ id: string, username: string, role: "user" | "admin" }} me
 * @property {() => Options} options what is chosen in the settings now
 * @property {(text: string, kind?: "info" | "error") => void} tell shows a short note, and reads it
 *   to whoever cannot see it
 * @property {(sessionId: string | null) => void} open goes to a session; null: a new one
 * @property {(session: any) => void} opened what is shown now, as the API tells of it: for the
 *   address, the title, the list and the settings
 * @property {(sessionId: string, draft: Draft) => void} gone somebody has deleted it; what was
 *   being written there
 * @property {() => void} changed the list of sessions is not what it was, in all tabs
 */

export {};
