/** Where questions are written, and where it is told why one was not taken. */

import { h } from "../dom.js";
import { words } from "../words.js";
import { waitFor } from "./faults.js";
import { Files } from "./files.js";
import { fit } from "./growing.js";
import { icon, iconButton } from "../icons.js";

/** @import { RunnelClient } from "../../client.js" */
/** @import { Draft } from "./drafts.js" */
/** @import { Attached } from "./tree.js" */

const t = words({
  en: {
    label: "Your question",
    hint: "Ask something",
    send: "Send",
    stop: "Stop",
    attach: "Attach files",
    closed: "This session is closed.",
    reopen: "Open it again",
  },
  pt: {
    label: "Sua pergunta",
    hint: "Pergunte algo",
    send: "Enviar",
    stop: "Parar",
    attach: "Anexar arquivos",
    closed: "Esta sessão está fechada.",
    reopen: "Abrir de novo",
  },
});

/** On phones there is no other key for a new line. */
const TOUCHED = matchMedia("(hover: none) and (pointer: coarse)");

/**
 * @typedef {object} Wishes
 * @property {(text: string, files: Attached[]) => void} send
 * @property {() => void} stop
 * @property {() => void} reopen
 * @property {() => void} changed what is written has changed
 */

export class Composer {
  #state = { busy: false, closed: false };
  /** @type {ReturnType<typeof setInterval> | undefined} */ #counting;
  #input;
  #files;
  #send;
  #stop;
  #form;
  #closed;
  #note = h("p", { class: "composer-note", role: "alert", "data-testid": "composer-note" });
  #wishes;

  /** @param {RunnelClient} client @param {Wishes} wishes */
  constructor(client, wishes) {
    this.#wishes = wishes;
    this.#files = new Files(client, () => this.#edited());
    this.#input = h("textarea", {
      class: "composer-text",
      "data-testid": "composer",
      "aria-label": t("label"),
      placeholder: t("hint"),
      rows: 1,
      dir: "auto",
      oninput: () => this.#edited(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      onpaste: (/** @type {ClipboardEvent} */ event) => this.#pasted(event),
    });
    this.#send = h(
      "button",
      { class: "composer-send", "data-testid": "send", "aria-label": t("send"), title: t("send") },
      icon("send"),
    );
    this.#stop = iconButton("stop", t("stop"), {
      class: "composer-stop",
      "data-testid": "stop",
      onclick: (/** @type {MouseEvent} */ { detail }) => {
        // The second click of two was for the button that stood here at the first: Send.
        if (detail < 2) this.#wishes.stop();
      },
    });
    const picker = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      "data-testid": "file",
    });
    picker.addEventListener("change", () => {
      this.addFiles(picker.files ?? []);
      picker.value = "";
    });
    const attach = iconButton("attach", t("attach"), { onclick: () => picker.click() });
    this.#form = h(
      "form",
      {
        class: "composer-form",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          this.#ask();
        },
      },
      this.#files.element,
      this.#input,
      h("div", { class: "composer-buttons" }, attach, picker, this.#stop, this.#send),
    );
    this.#closed = h(
      "div",
      { class: "composer-closed", "data-testid": "closed" },
      h("span", {}, t("closed")),
      h(
        "button",
        { type: "button", "data-testid": "reopen", onclick: () => this.#wishes.reopen() },
        t("reopen"),
      ),
    );
    this.element = h("div", { class: "composer" }, this.#note, this.#form, this.#closed);
    this.#shown();
  }

  /** @returns {Draft} what is written, and what goes with it */
  get draft() {
    return { text: this.#input.value, files: this.#files.attached };
  }

  /** @param {Draft} draft */
  set draft({ text, files }) {
    this.#input.value = text;
    this.#files.set(files);
  }

  /** A question that was not taken comes back, before what was written meanwhile.
   *  @param {string} text @param {Attached[]} files */
  giveBack(text, files) {
    const now = this.draft;
    this.draft = {
      text: [text, now.text].filter(Boolean).join("\n\n"),
      files: [...files, ...now.files],
    };
  }

  /** @param {{ busy: boolean, closed: boolean }} state whether an answer is being made, whether the
   *  session takes no question */
  show(state) {
    this.#state = state;
    this.#shown();
  }

  /** Says what is in the way. @param {string} text @param {number | null} [seconds] that pass until
   *  it is not any more */
  tell(text, seconds = null) {
    clearInterval(this.#counting);
    this.#note.textContent = text;
    if (seconds === null) return;
    const end = Date.now() + seconds * 1000;
    // Only once read out: what counts down stands in a part of its own.
    const left = h("span", { "aria-live": "off" });
    const count = () => {
      const rest = (end - Date.now()) / 1000;
      if (rest <= 0) this.tell("");
      else left.textContent = ` ${waitFor(rest)}`;
    };
    this.#note.append(left);
    count();
    this.#counting = setInterval(count, 500);
  }

  /** @param {Iterable<File>} files */
  addFiles(files) {
    this.#files.add(files);
    this.focus();
  }

  focus() {
    this.#input.focus();
  }

  #ask() {
    if (this.#send.disabled || this.#send.hidden) return;
    const { text, files } = this.draft;
    this.tell("");
    this.draft = { text: "", files: [] };
    this.#wishes.send(text, files);
  }

  #edited() {
    this.#shown();
    this.#wishes.changed();
  }

  #shown() {
    const { busy, closed } = this.#state;
    const empty = this.#input.value.trim() === "";
    this.#form.hidden = closed;
    this.#closed.hidden = !closed;
    this.#stop.hidden = !busy;
    this.#send.hidden = busy && empty;
    this.#send.disabled = empty || this.#files.uploading;
    fit(this.#input);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // What an input method is still composing is its own.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      if (TOUCHED.matches && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.#ask();
    } else if (event.key === "Escape" && this.#state.busy) {
      event.preventDefault();
      this.#wishes.stop();
    }
  }

  /** @param {ClipboardEvent} event */
  #pasted(event) {
    const files = event.clipboardData?.files;
    // What comes with a text besides, as a picture of it, is not meant.
    if (!files?.length || event.clipboardData?.types.includes("text/plain")) return;
    event.preventDefault();
    this.addFiles(files);
  }
}
