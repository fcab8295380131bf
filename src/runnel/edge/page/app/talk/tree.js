/** The messages of a session: which of them follow which. Knows no server and no element. */

/**
 * A file as its messages show it.
 * @typedef {object} Attached
 * @property {string} attachment_id
 * @property {string} name
 * @property {string} media_type
 * @property {number} bytes
 * @property {number | null} width
 * @property {number | null} height
 * @property {number | null} characters
 */

/** @typedef {"queued" | "running" | "completed" | "aborted" | "failed" | "interrupted"} Status */

/**
 * A message as the API tells of it.
 * @typedef {object} Message
 * @property {string} message_id
 * @property {string | null} parent_id
 * @property {string | null} generation_id
 * @property {"system" | "user" | "assistant"} role
 * @property {string} content
 * @property {Status} status
 * @property {string} timestamp
 * @property {Metadata} metadata
 * @property {{ helpful: boolean | null, rating: number | null }} reactions
 */

/**
 * What an answer took; null or absent is unknown.
 * @typedef {object} Metadata
 * @property {number | null} tokens_used
 * @property {number | null} processing_time in seconds
 * @property {string | null} agent_used
 * @property {Attached[]} attachments
 * @property {import("../../client.js").Usage | null} [usage]
 * @property {number | null} [first_token_ms]
 * @property {string | null} [finish_reason]
 * @property {{ code: string, message: string } | null} [error] why there is no more of it
 */

export class MessageTree {
  /** @type {Map<string, Message>} */ #messages = new Map();
  /** @type {Map<string | null, Message[]>} */ #children = new Map();

  /** Adds a message, or puts it in the place of the one with its id. @param {Message} message */
  put(message) {
    const known = this.#messages.get(message.message_id);
    this.#messages.set(message.message_id, message);
    if (known) {
      const old = this.#childrenOf(known.parent_id);
      old.splice(old.indexOf(known), 1);
    }
    const beside = this.#childrenOf(message.parent_id);
    let place = beside.length;
    // Ids are in the order of their making.
    while (place > 0 && message.message_id < beside[place - 1].message_id) place--;
    beside.splice(place, 0, message);
  }

  /** @param {string | null} id */
  get(id) {
    return id === null ? undefined : this.#messages.get(id);
  }

  /** The answer that a generation makes. @param {string} generationId */
  ofGeneration(generationId) {
    for (const message of this.#messages.values()) {
      if (message.generation_id === generationId) return message;
    }
    return undefined;
  }

  /** From the first message down to a leaf. @param {string | null} leafId */
  branch(leafId) {
    const branch = [];
    for (let next = this.get(leafId); next; next = this.get(next.parent_id)) branch.push(next);
    return branch.reverse();
  }

  /** A message and those that stand in its place on other branches, oldest first.
   *  @param {Message} message */
  beside(message) {
    return /** @type {readonly Message[]} */ (this.#childrenOf(message.parent_id));
  }

  /** @param {string | null} parentId */
  #childrenOf(parentId) {
    let children = this.#children.get(parentId);
    if (!children) this.#children.set(parentId, (children = []));
    return children;
  }
}
