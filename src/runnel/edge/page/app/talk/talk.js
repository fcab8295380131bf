/** The talk: one session's messages, what is being answered, and where the next question is written. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Thread } from "./thread.js";

/** @import { App } from "../app.js" */
/** @import { Item } from "./conversation.js" */

const t = words({
  en: { lost: "The session cannot be shown: {why}" },
  pt: { lost: "A sessão não pode ser mostrada: {why}" },
});

export class Talk {
  #app;
  #conversation;
  #thread;
  #composer;

  /** @param {App} app */
  constructor(app) {
    this.#app = app;
    this.#thread = this.#newThread();
    this.#composer = new Composer({
      send: (text) => this.#ask(text),
      stop: () => this.#try(this.#conversation.stop()),
    });
    this.element = h("section", { class: "talk" }, this.#thread.element, this.#composer.element);
    this.#conversation = this.#begin(null);
  }

  /** Shows a session; null: an empty, new one. @param {string | null} sessionId */
  async show(sessionId) {
    this.#conversation.leave();
    const thread = this.#newThread();
    this.#thread.element.replaceWith(thread.element);
    this.#thread = thread;
    const conversation = (this.#conversation = this.#begin(sessionId));
    this.#changed();
    if (sessionId === null) return;
    try {
      await conversation.read();
      if (conversation === this.#conversation) this.#app.opened(conversation.session);
    } catch (error) {
      if (conversation !== this.#conversation) return;
      this.#app.tell(t("lost", { why: /** @type {Error} */ (error).message }), "error");
    }
  }

  /** Puts the cursor where a question is written. */
  focus() {
    this.#composer.focus();
  }

  #newThread() {
    return new Thread({ regenerate: (item) => this.#regenerate(item) });
  }

  /** @param {string | null} sessionId */
  #begin(sessionId) {
    const conversation = new Conversation(this.#app.client, sessionId);
    conversation.addEventListener("change", () => this.#changed());
    conversation.addEventListener("begun", async () => {
      this.#app.changed();
      await this.#try(conversation.read());
      if (conversation === this.#conversation) this.#app.opened(conversation.session);
    });
    conversation.addEventListener("written", () => this.#app.changed());
    conversation.addEventListener("ended", () => this.#app.changed());
    conversation.addEventListener("refused", (event) => {
      const { asked, error } = /** @type {CustomEvent} */ (event).detail;
      this.#composer.text = [asked.text, this.#composer.text].filter(Boolean).join("\n\n");
      this.#app.tell(error.message, "error");
    });
    return conversation;
  }

  #changed() {
    this.#thread.show(this.#conversation.items);
    const { busy, beginning } = this.#conversation;
    this.#composer.show({ busy, blocked: beginning });
  }

  /** @param {string} text */
  #ask(text) {
    this.#conversation.ask(text, [], this.#app.options());
    this.#thread.follow();
  }

  /** @param {Item} item */
  #regenerate({ message }) {
    if (message) this.#conversation.regenerate(message, this.#app.options());
  }

  /** @param {Promise<unknown>} work */
  async #try(work) {
    try {
      await work;
    } catch (error) {
      this.#app.tell(/** @type {Error} */ (error).message, "error");
    }
  }
}
