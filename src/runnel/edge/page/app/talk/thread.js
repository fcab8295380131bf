/** The messages of the branch that is shown, and where its reader is in them. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { MessageView } from "./message_view.js";

/** @import { Item } from "./conversation.js" */
/** @import { Actions } from "./message_view.js" */

const t = words({
  en: { log: "Conversation", newest: "To the newest" },
  pt: { log: "Conversa", newest: "Ir para o mais recente" },
});

/** As near to the end a reader is at the end, in pixels. */
const NEAR = 64;

export class Thread {
  /** @type {Map<string, MessageView>} */ #views = new Map();
  #following = true;
  #list;
  #scroller;
  #actions;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
    // Each token would be read out: what is to be told has a place of its own.
    this.#list = h("div", {
      class: "thread",
      role: "log",
      "aria-live": "off",
      "aria-label": t("log"),
    });
    this.#scroller = h(
      "div",
      { class: "thread-scroller", onscroll: () => this.#scrolled() },
      this.#list,
    );
    const newest = h(
      "button",
      { class: "thread-newest", type: "button", hidden: true, onclick: () => this.follow() },
      t("newest"),
    );
    this.newest = newest;
    this.element = h("div", { class: "thread-frame" }, this.#scroller, newest);
    new ResizeObserver(() => this.#grown()).observe(this.#list);
  }

  /** @param {Item[]} items */
  show(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, view] of this.#views) {
      if (!keys.has(key)) {
        view.element.remove();
        this.#views.delete(key);
      }
    }
    /** @type {Element | null} */
    let next = this.#list.firstElementChild;
    for (const item of items) {
      let view = this.#views.get(item.key);
      if (view) view.update(item);
      else this.#views.set(item.key, (view = new MessageView(item, this.#actions)));
      if (view.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(view.element, next);
    }
  }

  /** Goes to the end, and stays there as it grows. */
  follow() {
    this.#following = true;
    this.#grown();
  }

  #grown() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolled();
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR;
    this.newest.hidden = this.#following;
  }
}
