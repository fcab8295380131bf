/** Where questions are written. */

import { h } from "../dom.js";
import { words } from "../words.js";

const t = words({
  en: { label: "Your question", hint: "Ask something", send: "Send", stop: "Stop" },
  pt: { label: "Sua pergunta", hint: "Pergunte algo", send: "Enviar", stop: "Parar" },
});

/**
 * @typedef {object} Wishes
 * @property {(text: string) => void} send
 * @property {() => void} stop
 */

export class Composer {
  #busy = false;
  #blocked = false;
  #input;
  #send;
  #stop;
  #wishes;

  /** @param {Wishes} wishes */
  constructor(wishes) {
    this.#wishes = wishes;
    this.#input = h("textarea", {
      class: "composer-text",
      "data-testid": "composer",
      "aria-label": t("label"),
      placeholder: t("hint"),
      rows: 1,
      dir: "auto",
      oninput: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.#send = h("button", { class: "composer-send", "data-testid": "send" }, t("send"));
    this.#stop = h(
      "button",
      { class: "composer-stop", type: "button", "data-testid": "stop", onclick: wishes.stop },
      t("stop"),
    );
    this.element = h(
      "form",
      {
        class: "composer",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          this.#ask();
        },
      },
      this.#input,
      h("div", { class: "composer-buttons" }, this.#stop, this.#send),
    );
    this.#typed();
  }

  get text() {
    return this.#input.value;
  }

  set text(text) {
    this.#input.value = text;
    this.#typed();
  }

  /** @param {{ busy: boolean, blocked: boolean }} state whether an answer is being made; whether
   *  nothing can be sent now */
  show({ busy, blocked }) {
    this.#busy = busy;
    this.#blocked = blocked;
    this.#typed();
  }

  focus() {
    this.#input.focus();
  }

  #ask() {
    const text = this.text;
    if (this.#send.disabled || this.#send.hidden) return;
    this.text = "";
    this.#wishes.send(text);
  }

  #typed() {
    const empty = this.text.trim() === "";
    this.#stop.hidden = !this.#busy;
    this.#send.hidden = this.#busy && empty;
    this.#send.disabled = empty || this.#blocked;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#ask();
    } else if (event.key === "Escape" && this.#busy) {
      event.preventDefault();
      this.#wishes.stop();
    }
  }
}
