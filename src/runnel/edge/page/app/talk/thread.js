/** The messages of the branch that is shown, and where its reader is in them. */

import { h, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { icon } from "../icons.js";
import { MessageView } from "./message_view.js";

/** @import { Item } from "./items.js" */
/** @import { Actions } from "./message_view.js" */

const t = words({
  en: { log: "Conversation", newest: "To the newest" },
  pt: { log: "Conversa", newest: "Ir para o mais recente" },
});

/** As near to the end a reader is at the end, in pixels. */
const NEAR = 64;
/** For so long messages are made in one go, in milliseconds. */
const AT_ONCE = 12;
/** With more than so many, those that are not in sight are not laid out. */
const LONG = 100;

export class Thread {
  /** @type {Map<string, MessageView>} */ #views = new Map();
  /** @type {Item[]} */ #items = [];
  #busy = false;
  #following = true;
  #top = 0;
  /** @type {Promise<void> | null} */ #filling = null;
  #list;
  #scroller;
  #newest;
  #actions;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
    // Each token would be read out: what is to be told has a place of its own.
    const log = { role: "log", "aria-live": "off", "aria-label": t("log"), tabindex: 0 };
    this.#list = h("div", { class: "thread" });
    this.#scroller = h(
      "div",
      { class: "thread-scroller", ...log, onscroll: () => this.#scrolled() },
      this.#list,
    );
    this.#newest = h(
      "button",
      {
        class: "thread-newest",
        type: "button",
        hidden: true,
        "data-testid": "newest",
        onclick: () => this.follow(),
      },
      icon("down"),
      t("newest"),
    );
    this.element = h("div", { class: "thread-frame" }, this.#scroller, this.#newest);
    const sizes = new ResizeObserver(() => this.#grown());
    sizes.observe(this.#list);
    sizes.observe(this.#scroller);
  }

  /** @param {Item[]} items @param {boolean} busy whether nothing can be asked now */
  show(items, busy) {
    this.#items = items;
    this.#busy = busy;
    setAttribute(this.#list, "data-long", items.length > LONG);
    const keys = new Set(items.map((item) => item.key));
    for (const [key, view] of this.#views) {
      if (keys.has(key)) continue;
      view.element.remove();
      this.#views.delete(key);
    }
    for (const item of items) this.#views.get(item.key)?.update(item, busy);
    this.#fillIn();
  }

  /** Goes to the end, and stays there as it grows. */
  follow() {
    this.#following = true;
    this.#grown();
  }

  /** @param {string} messageId */
  viewOf(messageId) {
    const item = this.#items.find(({ message }) => message?.message_id === messageId);
    return item && this.#views.get(item.key);
  }

  /** Makes what is not there yet, the newest first, and leaves time for everything else. */
  #fillIn() {
    const made = this.#make();
    if (made.length === 0 || this.#filling) return;
    this.#filling = this.#fillOn(made).finally(() => {
      this.#filling = null;
    });
  }

  /** @param {MessageView[]} made */
  async #fillOn(made) {
    while (made.length > 0) {
      await Promise.all(made.map((view) => view.settled));
      await new Promise((go) => setTimeout(go));
      made = this.#make();
    }
  }

  #make() {
    /** @type {MessageView[]} */
    const made = [];
    /** @type {Node | null} */
    let after = null;
    const end = performance.now() + AT_ONCE;
    for (let index = this.#items.length - 1; index >= 0; index--) {
      const item = this.#items[index];
      let view = this.#views.get(item.key);
      if (!view) {
        if (made.length > 0 && performance.now() > end) break;
        view = new MessageView(item, this.#actions);
        view.update(item, this.#busy);
        this.#views.set(item.key, view);
        made.push(view);
      }
      if (view.element.nextSibling !== after || !view.element.parentNode) {
        this.#list.insertBefore(view.element, after);
      }
      after = view.element;
    }
    return made;
  }

  #grown() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolled();
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR;
    // Only its reader goes up: what has grown meanwhile takes nobody away from the end.
    if (near) this.#following = true;
    else if (scrollTop < this.#top) this.#following = false;
    this.#top = scrollTop;
    this.#newest.hidden = near || this.#following;
  }
}
