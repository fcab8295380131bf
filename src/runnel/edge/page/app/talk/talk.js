/** The talk: one session's messages, what is being answered, and where the next question is written. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { draftOf, keepDraft } from "./drafts.js";
import { takeDropped } from "./dropping.js";
import { whyOf } from "./faults.js";
import { Thread } from "./thread.js";
import { Watch } from "./watch.js";

/** @import { App } from "../app.js" */
/** @import { RunnelError } from "../../client.js" */
/** @import { Asked, Item } from "./items.js" */
/** @import { Actions } from "./message_view.js" */

const t = words({
  en: {
    welcome: "What would you like to know?",
    begun: "The answer has begun.",
    completed: "The answer is finished.",
    aborted: "The answer was stopped.",
    failed: "The answer failed.",
    interrupted: "The answer was interrupted.",
  },
  pt: {
    welcome: "O que você gostaria de saber?",
    begun: "A resposta começou.",
    completed: "A resposta terminou.",
    aborted: "A resposta foi parada.",
    failed: "A resposta falhou.",
    interrupted: "A resposta foi interrompida.",
  },
});

export class Talk {
  /** @type {Actions} */ #actions;
  #app;
  #conversation;
  #thread;
  #composer;
  #welcome = h("p", { class: "talk-welcome" }, t("welcome"));
  #announced = h("p", { class: "unseen", role: "status", "data-testid": "announced" });
  /** @type {Watch | null} */ #watch = null;
  /** What the rest of the page was told of the session. */
  #told = "";
  #loading = false;

  /** @param {App} app */
  constructor(app) {
    this.#app = app;
    this.#actions = {
      client: app.client,
      regenerate: ({ message }) => {
        if (message) this.#conversation.regenerate(message, app.options());
        this.#thread.follow();
      },
      edit: ({ message }, text) => {
        if (message) this.#conversation.edit(message, text, app.options());
        this.#thread.follow();
      },
      step: (item, by) => this.#try(this.#step(item, by)),
      react: ({ message }, changes) => {
        if (message) this.#try(this.#conversation.react(message, changes));
      },
      drop: ({ asked }) => asked?.answer.cancel(),
      failed: (error) => this.#app.tell(whyOf(error), "error"),
    };
    this.#thread = new Thread(this.#actions);
    this.#composer = new Composer(app.client, {
      send: (text, files) => {
        this.#conversation.ask(text, files, app.options());
        this.#thread.follow();
      },
      stop: () => this.#try(this.#conversation.stop()),
      reopen: () => this.#try(this.#reopen()),
      changed: () => keepDraft(app.me.id, this.#conversation.id, this.#composer.draft),
    });
    this.element = h(
      "section",
      { class: "talk" },
      this.#welcome,
      this.#thread.element,
      this.#composer.element,
      this.#announced,
    );
    takeDropped(this.element, (files) => this.#composer.addFiles(files));
    this.#conversation = this.#begin(null);
    this.#composer.draft = draftOf(app.me.id, null);
    this.#changed();
  }

  /** Shows a session; null: an empty, new one. @param {string | null} sessionId */
  async show(sessionId) {
    this.#conversation.leave();
    this.#watch?.stop();
    this.#watch = null;
    this.#told = "";
    const thread = new Thread(this.#actions);
    this.#thread.element.replaceWith(thread.element);
    this.#thread = thread;
    const conversation = (this.#conversation = this.#begin(sessionId));
    this.#composer.tell("");
    this.#composer.draft = draftOf(this.#app.me.id, sessionId);
    this.#loading = sessionId !== null;
    this.#changed();
    if (sessionId === null) return;
    this.#watch = new Watch(this.#app.client, conversation);
    try {
      await conversation.read();
    } catch (error) {
      if (conversation === this.#conversation) this.#app.tell(whyOf(error), "error");
    }
  }

  /** Puts the cursor where a question is written. */
  focus() {
    this.#composer.focus();
  }

  /** @param {string | null} sessionId */
  #begin(sessionId) {
    const { client } = this.#app;
    const conversation = new Conversation(client, sessionId);
    /** @param {string} type @param {(event: any) => void} heard */
    const on = (type, heard) => conversation.addEventListener(type, heard);
    on("change", () => this.#changed());
    on("begun", () => this.#try(this.#begun(conversation)));
    on("written", () => this.#app.changed());
    on("gone", () => {
      this.#app.gone(/** @type {string} */ (conversation.id), this.#composer.draft);
    });
    on("first", () => this.#announce("begun"));
    on("ended", ({ detail }) => {
      this.#announce(detail);
      this.#app.changed();
    });
    on("refused", ({ detail }) => this.#refused(detail.asked, detail.error));
    return conversation;
  }

  /** A new session has got its id. @param {Conversation} conversation */
  async #begun(conversation) {
    const { id } = this.#app.me;
    // What was typed meanwhile is of this session, and no more of a new one.
    keepDraft(id, null, { text: "", files: [] });
    keepDraft(id, conversation.id, this.#composer.draft);
    this.#app.changed();
    this.#watch = new Watch(this.#app.client, conversation);
    await conversation.readSession();
  }

  /** The rest of the page hears of the session once it is known, and of what it shows of it. */
  #tellOfSession() {
    const { session } = this.#conversation;
    if (!session) return;
    const told = JSON.stringify([session.session_id, session.title, session.status]);
    if (told === this.#told) return;
    this.#told = told;
    this.#loading = false;
    this.#app.opened(session);
  }

  #changed() {
    this.#tellOfSession();
    const { items, busy, closed } = this.#conversation;
    this.#welcome.hidden = this.#loading || items.length > 0;
    this.#thread.show(items, busy || closed);
    this.#composer.show({ busy, closed });
  }

  /** @param {Asked} asked @param {RunnelError} error */
  #refused({ kind, text, attachments }, error) {
    // The files of a question that was edited are that question's still.
    if (kind !== "regenerate") this.#composer.giveBack(text, kind === "ask" ? attachments : []);
    if (error.code === "cancelled") return;
    this.#composer.tell(whyOf(error), error.retryAfter);
    if (error.code === "busy" || error.code === "session_closed") {
      this.#try(this.#conversation.read());
    }
  }

  /** @param {Item} item @param {1 | -1} by */
  async #step({ message }, by) {
    const next = message && this.#conversation.neighbour(message, by);
    if (!next) return;
    await this.#conversation.choose(next.message_id);
    this.#thread.viewOf(next.message_id)?.branches.focus(by);
  }

  async #reopen() {
    await this.#conversation.reopen();
    this.#app.changed();
    this.focus();
  }

  /** @param {Parameters<typeof t>[0]} what */
  #announce(what) {
    this.#announced.textContent = t(what);
  }

  /** @param {Promise<unknown>} work */
  async #try(work) {
    try {
      await work;
    } catch (error) {
      this.#app.tell(whyOf(error), "error");
    }
  }
}
