/**
 * What is known of the session that is open: its messages, what was asked here and is not written
 * there yet, and the answers that are being made. Knows no element.
 */

import { MessageTree } from "./tree.js";

/** @import { Answer, RunnelClient, RunnelError } from "../../client.js" */
/** @import { Attached, Message, Status } from "./tree.js" */
/** @import { Options } from "../app.js" */

const PAGE_MESSAGES = 500;

/**
 * What was asked here and the server does not have yet.
 * @typedef {object} Asked
 * @property {string} key
 * @property {"ask" | "regenerate" | "edit"} kind
 * @property {string | null} after the message it follows; for `ask` whichever is the last then
 * @property {string} text
 * @property {Attached[]} attachments
 * @property {Answer} answer
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
 * @property {number} place
 * @property {number} places
 * @property {boolean} last
 */

/** Tells `change`, `begun` (a new session has its id), `written`, `ended` and `refused`. */
export class Conversation extends EventTarget {
  /** @type {any} the session as the API tells of it; null for a new one */
  session = null;
  #client;
  #tree = new MessageTree();
  /** @type {string | null} */ #id;
  /** @type {string | null} */ #leafId = null;
  /** @type {Asked[]} */ #asked = [];
  /** @type {Map<string, Answer>} by the answer's message */ #answers = new Map();
  /** @type {Map<string, string>} keys of messages that were shown before they had an id */
  #keys = new Map();
  /** @type {Promise<void> | null} */ #reading = null;
  #changes = 0;
  #left = false;

  /** @param {RunnelClient} client @param {string | null} sessionId null: a new one */
  constructor(client, sessionId) {
    super();
    this.#client = client;
    this.#id = sessionId;
  }

  get id() {
    return this.#id;
  }

  /** The leaf of the branch that is shown. */
  get leafId() {
    return this.#leafId;
  }

  get closed() {
    return this.session?.status === "closed";
  }

  /** Whether an answer is being made, or asked for. */
  get busy() {
    return this.#answers.size > 0 || this.#asked.some((asked) => asked.answer.status !== "queued");
  }

  /** Whether the first question of a new session is still on its way. */
  get beginning() {
    return this.#id === null && this.#asked.length > 0;
  }

  /** @returns {Item[]} the branch that is shown, and what was asked after it */
  get items() {
    const again = this.#asked.find((asked) => asked.kind !== "ask");
    const branch = this.#tree.branch(again ? again.after : this.#leafId);
    const items = branch.map((message) => this.#stored(message));
    for (const asked of this.#asked) items.push(onItsWay(asked));
    const last = items.findLast((item) => item.role === "assistant");
    if (last) last.last = true;
    return items;
  }

  // ---- reading

  /** Reads the session and its messages, and follows what runs. Raises RunnelError. */
  read() {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  async #read() {
    const id = this.#id;
    if (id === null) return;
    for (;;) {
      const changes = this.#changes;
      const session = await this.#client.sessions.get(id);
      const messages = await this.#allMessages(id);
      if (this.#left) return;
      // What happened here meanwhile is newer than what was read.
      if (changes !== this.#changes) continue;
      this.session = session;
      this.#leafId = session.last_message_id;
      for (const message of messages) this.#tree.put(message);
      const running =
        session.running_generation_id && this.#tree.ofGeneration(session.running_generation_id);
      if (running && !this.#answers.has(running.message_id)) {
        this.#follow(running.message_id, this.#client.attach(session.running_generation_id));
      }
      this.#tell("change");
      return;
    }
  }

  /** @param {string} id */
  async #allMessages(id) {
    /** @type {Message[]} */
    const all = [];
    /** @type {string | undefined} */
    let cursor;
    do {
      const query = { tree: true, limit: PAGE_MESSAGES, cursor };
      const page = await this.#client.sessions.messages(id, query);
      all.push(...page.messages);
      cursor = page.next_cursor ?? undefined;
    } while (cursor && !this.#left);
    return all;
  }

  // ---- asking

  /** @param {string} text @param {Attached[]} attachments @param {Options} options */
  ask(text, attachments, options) {
    const answer = this.#client.ask({
      message: text,
      sessionId: this.#id ?? undefined,
      attachments: attachments.length ? attachments.map((each) => each.attachment_id) : undefined,
      ...chosen(options),
    });
    this.#await({ kind: "ask", after: null, text, attachments, answer });
  }

  /** Another answer in the place of one. @param {Message} message @param {Options} options */
  regenerate(message, options) {
    const id = /** @type {string} */ (this.#id);
    const answer = this.#client.regenerate(id, message.message_id, chosen(options));
    const after = message.parent_id;
    this.#await({ kind: "regenerate", after, text: "", attachments: [], answer });
  }

  /** Another question in the place of one. @param {Message} message @param {string} text
   *  @param {Options} options */
  edit(message, text, options) {
    const id = /** @type {string} */ (this.#id);
    const answer = this.#client.edit(id, message.message_id, text, chosen(options));
    const { attachments } = message.metadata;
    this.#await({ kind: "edit", after: message.parent_id, text, attachments, answer });
  }

  /** @param {Omit<Asked, "key">} what */
  #await(what) {
    const { answer } = what;
    const asked = { ...what, key: answer.clientMessageId ?? String(Math.random()) };
    this.#asked.push(asked);
    answer.addEventListener("status", () => this.#tell("change"));
    answer.accepted.then(
      () => this.#written(asked),
      (error) => this.#refused(asked, error),
    );
    this.#tell("change");
  }

  /** The server has it: it is a message like the others. @param {Asked} asked */
  #written(asked) {
    const { answer, kind, text, attachments } = asked;
    if (this.#left) {
      answer.detach();
      return;
    }
    const begun = this.#id === null;
    this.#id ??= answer.sessionId;
    const messageId = /** @type {string} */ (answer.messageId);
    const questionId = /** @type {string} */ (answer.userMessageId);
    this.#forget(asked);
    if (kind === "regenerate") {
      this.#keys.set(messageId, asked.key);
    } else {
      const after = kind === "ask" ? this.#leafId : asked.after;
      this.#keys.set(questionId, asked.key);
      this.#tree.put(written(questionId, after, "user", text, attachments));
    }
    const made = written(messageId, questionId, "assistant", "", []);
    this.#tree.put({ ...made, generation_id: answer.generationId, status: "queued" });
    this.#leafId = messageId;
    this.#follow(messageId, answer);
    this.#tell("change");
    this.#tell(begun ? "begun" : "written");
  }

  /** @param {Asked} asked @param {RunnelError} error */
  #refused(asked, error) {
    this.#forget(asked);
    if (this.#left) return;
    this.#tell("change");
    this.dispatchEvent(new CustomEvent("refused", { detail: { asked, error } }));
  }

  /** @param {Asked} asked */
  #forget(asked) {
    this.#asked = this.#asked.filter((each) => each !== asked);
  }

  // ---- answers

  /** @param {string} messageId @param {Answer} answer */
  #follow(messageId, answer) {
    this.#changes++;
    this.#answers.set(messageId, answer);
    const ended = () => this.#ended(messageId, answer);
    answer.addEventListener("status", () => this.#tell("change"));
    answer.done.then(ended, ended);
  }

  /** @param {string} messageId @param {Answer} answer */
  #ended(messageId, answer) {
    if (this.#left) return;
    this.#changes++;
    this.#answers.delete(messageId);
    const message = /** @type {Message} */ (this.#tree.get(messageId));
    this.#tree.put({ ...message, ...outcome(message, answer) });
    this.#tell("change");
    this.#tell("ended");
    // It could not be followed to its end: what the server has of it is all there is.
    if (!answer.end) this.read().catch(() => {});
  }

  /** Stops what is being made for everyone. Raises RunnelError. */
  async stop() {
    const asked = this.#asked
      .map(({ answer }) => answer)
      .filter((each) => each.status !== "queued");
    await Promise.all([...this.#answers.values(), ...asked].map((answer) => answer.abort()));
  }

  /** Shows another branch, here and everywhere. Raises RunnelError. @param {string} messageId */
  async choose(messageId) {
    this.session = await this.#client.sessions.branch(/** @type {string} */ (this.#id), messageId);
    this.#changes++;
    this.#leafId = this.session.last_message_id;
    this.#tell("change");
    this.#tell("written");
  }

  /** Another session is shown. What is being made goes on, and what was asked is sent. */
  leave() {
    this.#left = true;
    for (const answer of this.#answers.values()) answer.detach();
  }

  // ---- what is shown

  /** @param {Message} message @returns {Item} */
  #stored(message) {
    const answer = this.#answers.get(message.message_id) ?? null;
    const beside = this.#tree.beside(message);
    return {
      key: this.#keys.get(message.message_id) ?? message.message_id,
      role: message.role,
      status: answer ? statusOf(answer) : message.status,
      text: answer ? answer.text : message.content,
      attachments: message.metadata.attachments,
      message,
      answer,
      asked: null,
      place: beside.indexOf(message),
      places: beside.length,
      last: false,
    };
  }

  /** @param {string} type */
  #tell(type) {
    if (!this.#left) this.dispatchEvent(new Event(type));
  }
}

/** @param {Asked} asked @returns {Item} */
function onItsWay(asked) {
  const { key, text, attachments } = asked;
  const role = asked.kind === "regenerate" ? "assistant" : "user";
  const item = { key, role, text, attachments, asked, message: null, answer: null };
  return /** @type {Item} */ ({ ...item, status: "queued", place: 0, places: 1, last: false });
}

/** @param {Answer} answer @returns {Status} */
function statusOf(answer) {
  if (answer.end?.type === "end") return "completed";
  if (answer.end?.type === "aborted") return "aborted";
  if (answer.end) return answer.end.code === "interrupted" ? "interrupted" : "failed";
  return answer.position === null ? "queued" : "running";
}

/** What its end says of an answer. @param {Message} message @param {Answer} answer */
function outcome(message, answer) {
  const { end } = answer;
  if (!end) return {};
  const facts = end.type === "end" ? end : null;
  const usage = end.type === "failed" ? null : end.usage;
  return {
    content: answer.text,
    status: statusOf(answer),
    metadata: {
      ...message.metadata,
      usage,
      tokens_used: usage?.total_tokens ?? null,
      processing_time: facts && facts.latency_ms / 1000,
      agent_used: facts?.model ?? message.metadata.agent_used,
      first_token_ms: facts?.first_token_ms ?? null,
      finish_reason: facts?.finish_reason ?? null,
      cost: usage?.cost ?? null,
    },
  };
}

/**
 * @param {string} id
 * @param {string | null} parentId
 * @param {"user" | "assistant"} role
 * @param {string} content
 * @param {Attached[]} attachments
 * @returns {Message}
 */
function written(id, parentId, role, content, attachments) {
  return {
    message_id: id,
    parent_id: parentId,
    generation_id: null,
    role,
    content,
    status: "completed",
    timestamp: new Date().toISOString(),
    metadata: { tokens_used: null, processing_time: null, agent_used: null, attachments },
    reactions: { helpful: null, rating: null },
  };
}

/** @param {Options} options */
function chosen({ model, params }) {
  return { model: model ?? undefined, params: Object.keys(params).length ? params : undefined };
}
