/**
 * What is known of the session that is open: its messages, what was asked here and is not written
 * there yet, and the answers that are being made. Knows no element.
 */

import { onItsWay, statusOf } from "./items.js";
import { chosen, outcome, written } from "./outcomes.js";
import { allMessages } from "./reading.js";
import { MessageTree } from "./tree.js";

/** @import { Answer, RunnelClient, RunnelError } from "../../client.js" */
/** @import { Asked, Item } from "./items.js" */
/** @import { Attached, Message } from "./tree.js" */
/** @import { Options } from "../app.js" */
/** @import { Reaction } from "./reactions.js" */

/**
 * Tells `change`, `begun` (a new session has its id), `written`, `first` (token of an answer),
 * `ended`, `refused` and `gone` (somebody has deleted the session).
 */
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
  #reacting = Promise.resolve();
  #changes = 0;
  #left = false;

  /** @param {RunnelClient} client @param {string | null} sessionId null: a new one */
  constructor(client, sessionId) {
    super();
    this.#client = client;
    this.#id = sessionId;
    for (const answer of client.queue) {
      if ((answer.question?.sessionId ?? null) === sessionId) this.#resume(answer);
    }
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

  /** Whether an answer was asked for here, or is known with how it stands now.
   *  @param {string} messageId */
  knows(messageId) {
    const message = this.#tree.get(messageId);
    if (!message) return false;
    const live = message.status === "queued" || message.status === "running";
    return !live || this.#answers.has(messageId);
  }

  /** Fulfilled when the server has what was just sent to it, or has refused it. */
  async sent() {
    const sending = this.#asked.filter(({ answer }) => answer.status !== "queued");
    await Promise.allSettled(sending.map(({ answer }) => answer.accepted));
  }

  /** Whether the server tells of a session what is known here. @param {any} session */
  isLike(session) {
    const running = [...this.#answers.values()].map((answer) => answer.generationId);
    const { last_message_id, running_generation_id, status } = session;
    return (
      this.session !== null &&
      session.title === this.session.title &&
      last_message_id === this.#leafId &&
      (running_generation_id === null || running.includes(running_generation_id)) &&
      (status === "closed") === this.closed
    );
  }

  /** The server has said that there is no such session any more. What is on its way there is
   *  refused first, and given back. */
  lose() {
    if (this.#asked.length === 0) this.#tell("gone");
  }

  /** @returns {Item[]} the branch that is shown, and what was asked after it */
  get items() {
    // Of what was asked before the page was loaded only the server knows what it follows.
    const again = this.#asked.find((asked) => asked.kind !== "ask" && !asked.resumed);
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

  /** Reads what is known of a session whose messages are all from here. Raises RunnelError. */
  async readSession() {
    this.session = await this.#client.sessions.get(/** @type {string} */ (this.#id));
    this.#tell("change");
  }

  async #read() {
    const id = this.#id;
    if (id === null) return;
    for (;;) {
      const changes = this.#changes;
      const session = await this.#client.sessions.get(id);
      const messages = await allMessages(this.#client, id, () => this.#left);
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

  // ---- asking

  /** @param {string} text @param {Attached[]} attachments @param {Options} options */
  ask(text, attachments, options) {
    const answer = this.#client.ask({
      message: text,
      // Into the session that the first question of it begins, if that is not there yet.
      sessionId: this.#id ?? this.#asked[0]?.answer,
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

  /** What was asked before, and was not sent then. @param {Answer} answer */
  #resume(answer) {
    const text = answer.question?.message ?? "";
    const kind = text === "" ? "regenerate" : "ask";
    this.#await({ kind, after: this.#leafId, text, attachments: [], answer, resumed: true });
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
      this.dispatchEvent(new Event("written")); // there may be a session more
      return;
    }
    const begun = this.#id === null;
    this.#id ??= answer.sessionId;
    if (asked.resumed || answer.sessionId !== this.#id) {
      // What it follows, and what goes with it, only the server knows.
      this.#forget(asked);
      this.#tell(begun ? "begun" : "written");
      this.read().catch(() => {});
      return;
    }
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
    this.#answers.get(messageId)?.detach();
    this.#answers.set(messageId, answer);
    answer.addEventListener("start", (event) => {
      const { model } = /** @type {any} */ (event).detail;
      const message = /** @type {Message} */ (this.#tree.get(messageId));
      const metadata = { ...message.metadata, agent_used: message.metadata.agent_used ?? model };
      this.#tree.put({ ...message, metadata });
    });
    answer.addEventListener("token", () => this.#tell("first"), { once: true });
    const ended = () => this.#ended(messageId, answer);
    answer.addEventListener("status", () => this.#tell("change"));
    answer.done.then(ended, ended);
  }

  /** @param {string} messageId @param {Answer} answer */
  #ended(messageId, answer) {
    if (this.#left || this.#answers.get(messageId) !== answer) return;
    this.#changes++;
    this.#answers.delete(messageId);
    const message = /** @type {Message} */ (this.#tree.get(messageId));
    this.#tree.put({ ...message, ...outcome(message, answer) });
    this.#tell("change");
    if (answer.end) this.dispatchEvent(new CustomEvent("ended", { detail: statusOf(answer) }));
    // What it took, and who spoke, only an end that was reached tells; and one that could not be
    // followed to its end is what the server has of it.
    if (answer.end?.type !== "end") this.read().catch(() => {});
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

  /** One after the other: what was pressed last stands, whatever the network's order.
   *  Raises RunnelError. @param {Message} message @param {Partial<Reaction>} changes */
  react(message, changes) {
    const reacted = this.#reacting.then(() => this.#react(message, changes));
    this.#reacting = reacted.catch(() => {});
    return reacted;
  }

  /** @param {Message} message @param {Partial<Reaction>} changes */
  async #react({ message_id }, changes) {
    const id = /** @type {string} */ (this.#id);
    const reactions = await this.#client.sessions.react(id, message_id, changes);
    this.#changes++;
    this.#tree.put({ .../** @type {Message} */ (this.#tree.get(message_id)), reactions });
    this.#tell("change");
    this.#tell("written");
  }

  /** It takes questions again. Raises RunnelError. */
  async reopen() {
    const id = /** @type {string} */ (this.#id);
    this.session = await this.#client.sessions.update(id, { status: "active" });
    this.#changes++;
    this.#tell("change");
  }

  /** The one that stands before or behind a message on another branch.
   *  @param {Message} message @param {1 | -1} by */
  neighbour(message, by) {
    const beside = this.#tree.beside(message);
    const place = beside.findIndex((each) => each.message_id === message.message_id);
    return beside[place + by];
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
      waits: false,
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
