/** One message as it is shown. What did not change is not touched. */

import { h, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { PlainText } from "./plain_text.js";

/** @import { Answer } from "../../client.js" */
/** @import { Item } from "./conversation.js" */

const t = words({
  en: { you: "You", answer: "Answer", system: "System", regenerate: "Answer again" },
  pt: { you: "Você", answer: "Resposta", system: "Sistema", regenerate: "Responder de novo" },
});

/**
 * What can be done with a message.
 * @typedef {object} Actions
 * @property {(item: Item) => void} regenerate
 */

export class MessageView {
  /** @type {Answer | null} */ #answer = null;
  /** @type {string | null} what the element was given */ #text = null;
  #content;
  #shown;

  /** @param {Item} item @param {Actions} actions */
  constructor(item, actions) {
    /** The newest that is known of it. */
    this.item = item;
    this.#content = h("div", {
      class: "turn-text",
      "data-testid": "message",
      "data-role": item.role,
      dir: "auto",
    });
    this.#shown = new PlainText(this.#content);
    const again = h(
      "button",
      {
        type: "button",
        "data-testid": "regenerate",
        onclick: () => actions.regenerate(this.item),
      },
      t("regenerate"),
    );
    this.element = h(
      "article",
      { class: "turn", "data-of": item.role, "aria-label": nameOf(item) },
      this.#content,
      item.role === "assistant" && h("footer", { class: "turn-foot" }, again),
    );
    this.update(item);
  }

  /** Fulfilled when all of its text is shown. */
  get settled() {
    return this.#shown.settled;
  }

  /** @param {Item} item */
  update(item) {
    this.item = item;
    setAttribute(this.#content, "data-status", item.status);
    if (item.answer) this.#follow(item.answer);
    else if (this.#text !== item.text) {
      this.#text = item.text;
      this.#shown.set(item.text);
      this.#shown.end();
    }
  }

  /** Shows its text as it comes. @param {Answer} answer */
  #follow(answer) {
    if (this.#answer === answer) return;
    this.#answer = answer;
    this.#text = answer.text;
    this.#shown.set(answer.text);
    answer.addEventListener("token", (event) => {
      const { text } = /** @type {any} */ (event).detail;
      this.#text += text;
      this.#shown.append(text);
    });
    answer.addEventListener("reset", (event) => {
      this.#text = /** @type {any} */ (event).detail.text;
      this.#shown.set(/** @type {string} */ (this.#text));
    });
    for (const end of ["end", "aborted", "failed"]) {
      answer.addEventListener(end, () => this.#shown.end());
    }
  }
}

/** @param {Item} item */
function nameOf({ role }) {
  return t(role === "user" ? "you" : role === "assistant" ? "answer" : "system");
}
