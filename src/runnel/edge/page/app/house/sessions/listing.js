/**
 * The sessions that are listed, newest first, as far as was read. What is changed here shows at
 * once, and is taken back if the server will not have it. Knows no element.
 */

/** @import { RunnelClient } from "../../../client.js" */

const PAGE_SESSIONS = 30;
/** The server gives no more at once. */
const MOST_A_PAGE = 100;

/** Tells `change` whenever any of it is not what it was. */
export class Listing extends EventTarget {
  /** @type {any[]} as the API tells of them */
  sessions = [];
  /** What was searched for. */
  query = "";
  /** Whether what is listed answers the query. */
  ready = false;
  /** @type {unknown} why it could not be read */
  fault = null;
  #client;
  /** @type {string | null} */ #cursor = null;
  /** Reads follow each other, so that an older answer never covers a newer one. */
  #last = Promise.resolve();
  /** @type {Promise<void> | null} a read that has not begun */ #next = null;
  /** @type {Promise<void> | null} */ #nextMore = null;
  /** How many changes were begun or ended, and how many are under way. */
  #edits = 0;
  #editing = 0;

  /** @param {RunnelClient} client */
  constructor(client) {
    super();
    this.#client = client;
  }

  /** Whether there are more than those listed. */
  get more() {
    return this.#cursor !== null;
  }

  /** @param {string} query an empty one for all */
  search(query) {
    if (query === this.query) return Promise.resolve();
    this.query = query;
    this.ready = false;
    this.#tell();
    return this.read();
  }

  /** Reads as many anew as are listed. */
  read() {
    this.#next ??= this.#after(() => {
      this.#next = null;
      return this.#read(this.ready ? this.sessions.length : 0);
    });
    return this.#next;
  }

  /** Lists those that follow. */
  readMore() {
    if (!this.more) return Promise.resolve();
    this.#nextMore ??= this.#after(() => {
      this.#nextMore = null;
      return this.#read(this.sessions.length + PAGE_SESSIONS, this.#cursor);
    });
    return this.#nextMore;
  }

  /**
   * Shows a change and has it made. Raises what the server says against it.
   * @param {string} id
   * @param {Record<string, unknown> | null} changes as they will show; null: it is gone
   * @param {() => Promise<unknown>} make
   */
  async change(id, changes, make) {
    this.#edits++;
    this.#editing++;
    const before = this.sessions;
    this.sessions = changes
      ? before.map((each) => (each.session_id === id ? { ...each, ...changes } : each))
      : before.filter((each) => each.session_id !== id);
    this.#tell();
    try {
      await make();
    } catch (error) {
      this.sessions = before;
      this.#tell();
      throw error;
    } finally {
      this.#edits++;
      this.#editing--;
      this.read();
    }
  }

  /** @param {() => Promise<void>} work which never fails */
  #after(work) {
    return (this.#last = this.#last.then(work));
  }

  /**
   * @param {number} wanted as many at least, if there are
   * @param {string | null} from where to go on; null: from the newest, in place of what is listed
   */
  async #read(wanted, from = null) {
    const { query } = this;
    const edits = this.#edits;
    const found = from === null ? [] : [...this.sessions];
    let cursor = from;
    try {
      do {
        const missing = Math.max(PAGE_SESSIONS, wanted - found.length);
        const limit = Math.min(MOST_A_PAGE, missing);
        const page = await this.#client.sessions.list({
          limit,
          cursor: cursor ?? undefined,
          q: query || undefined,
        });
        found.push(...page.sessions);
        cursor = page.next_cursor;
      } while (cursor !== null && found.length < wanted);
    } catch (error) {
      if (query === this.query) this.fault = error;
      this.#tell();
      return;
    }
    // What was searched for or changed meanwhile is read again anyway.
    if (query !== this.query || edits !== this.#edits || this.#editing) return;
    this.sessions = [...new Map(found.map((each) => [each.session_id, each])).values()];
    this.#cursor = cursor;
    this.ready = true;
    this.fault = null;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
