/**
 * Hears that something happens in a session elsewhere, in another tab or on another device, and
 * has it read again. What is said comes another way: here it is only told that there is something.
 */

/** @import { RunnelClient } from "../../client.js" */
/** @import { Conversation } from "./conversation.js" */

/** With a socket that tells of answers, looking is for what it does not tell: another branch. */
const LOOK_SECONDS = 4;
const LOOK_SECONDS_BESIDE_SOCKET = 20;

export class Watch {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #stopped = new AbortController();
  #channel = new BroadcastChannel("runnel.talk");
  /** @type {any} */ #socket = null;
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
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    client.addEventListener("state", () => client.state === "live" && this.#look(), { signal });
    this.#wait();
  }

  stop() {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    this.#channel.close();
    this.#socket?.close();
  }

  #wait() {
    const seconds = this.#socket ? LOOK_SECONDS_BESIDE_SOCKET : LOOK_SECONDS;
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
    } catch {
      // The next look will tell; that the server is away is told elsewhere.
    }
    if (!this.#stopped.signal.aborted) this.#wait();
  }

  #read() {
    this.#conversation.read().catch(() => {});
  }
}
