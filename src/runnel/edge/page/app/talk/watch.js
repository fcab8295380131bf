/**
 * Hears that something happens in a session elsewhere, in another tab or on another device, and
 * has it read again. What is said comes another way: here it is only told that there is something.
 */

/** @import { RunnelClient, RunnelError } from "../../client.js" */
/** @import { Conversation } from "./conversation.js" */

/** With a socket that tells of answers, looking is for what it does not tell: another branch. */
const LOOK_SECONDS = 4;
const LOOK_SECONDS_BESIDE_SOCKET = 20;
const TOLD = ["message_saved", "stream_start", "stream_end", "aborted", "message"];

export class Watch {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #stopped = new AbortController();
  #channel = new BroadcastChannel("runnel.talk");
  #socket;
  #client;
  #conversation;

  /** @param {RunnelClient} client @param {Conversation} conversation that has an id */
  constructor(client, conversation) {
    this.#client = client;
    this.#conversation = conversation;
    const { signal } = this.#stopped;
    this.#channel.addEventListener("message", ({ data }) => {
      if (data === conversation.id) this.#read();
    });
    conversation.addEventListener("written", () => this.#channel.postMessage(conversation.id), {
      signal,
    });
    this.#socket = client.socket(/** @type {string} */ (conversation.id), { chunks: false });
    for (const type of TOLD) {
      this.#socket.addEventListener(type, (event) => this.#hear(/** @type {any} */ (event).detail));
    }
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    client.addEventListener("state", () => client.state === "live" && this.#look(), { signal });
    this.#wait();
  }

  stop() {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    this.#channel.close();
    this.#socket.close();
  }

  #wait() {
    const seconds = this.#socket.state === "open" ? LOOK_SECONDS_BESIDE_SOCKET : LOOK_SECONDS;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), seconds * 1000);
  }

  /** Asks whether the session is as it is shown. */
  async #look() {
    if (document.hidden || this.#stopped.signal.aborted) return;
    try {
      const id = /** @type {string} */ (this.#conversation.id);
      const session = await this.#client.sessions.get(id);
      if (!this.#conversation.isLike(session)) await this.#conversation.read();
    } catch (error) {
      // Else the next look will tell; that the server is away is told elsewhere. A proxy has its own
      // 404 while the server starts, and to whoever is signed out nothing of theirs is there.
      const { facts } = /** @type {RunnelError} */ (error);
      if (facts?.code === "not_found" && this.#client.signedIn) this.#conversation.lose();
    }
    if (!this.#stopped.signal.aborted) this.#wait();
  }

  /** @param {Record<string, any>} frame */
  async #hear({ message_id }) {
    // What was asked from here is told as well, and may be told before it was answered here.
    await this.#conversation.sent();
    if (!this.#conversation.knows(message_id)) this.#read();
  }

  #read() {
    this.#conversation.read().catch(() => {});
  }
}
