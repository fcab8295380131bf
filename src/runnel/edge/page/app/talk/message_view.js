/** One message as it is shown, with what can be done with it. What did not change is not touched. */

import { h, setAttribute } from "../dom.js";
import { words } from "../words.js";
import { attachedFile } from "./attached.js";
import { BranchBar } from "./branch_bar.js";
import { copy } from "../markdown/copying.js";
import { Details } from "./details.js";
import { questionEditor } from "./editing.js";
import { why } from "./faults.js";
import { icon, iconButton } from "../icons.js";
import { AnswerText } from "../markdown/answer_text.js";
import { PlainText } from "./plain_text.js";
import { Reactions } from "./reactions.js";

/** @import { Answer, RunnelClient } from "../../client.js" */
/** @import { Item } from "./items.js" */
/** @import { Reaction } from "./reactions.js" */

const t = words({
  en: {
    you: "You",
    answer: "Answer",
    answerBy: "Answer by {model}",
    system: "System",
    copy: "Copy",
    copied: "The text is copied.",
    notCopied: "The text could not be copied.",
    regenerate: "Answer again",
    edit: "Edit",
    thinking: "Waiting for the answer",
    sending: "Being sent",
    queued: "Waits to be sent",
    dropIt: "Do not send",
    stopped: "Stopped.",
    length: "The answer has reached its greatest length.",
    content_filter: "The model's provider has held back the rest.",
    tryAgain: "Try again",
  },
  pt: {
    you: "Você",
    answer: "Resposta",
    answerBy: "Resposta de {model}",
    system: "Sistema",
    copy: "Copiar",
    copied: "O texto foi copiado.",
    notCopied: "Não foi possível copiar o texto.",
    regenerate: "Responder de novo",
    edit: "Editar",
    thinking: "Esperando a resposta",
    sending: "Sendo enviada",
    queued: "Aguarda o envio",
    dropIt: "Não enviar",
    stopped: "Parada.",
    length: "A resposta chegou ao tamanho máximo.",
    content_filter: "O provedor do modelo reteve o resto.",
    tryAgain: "Tentar de novo",
  },
});

/**
 * What can be done with a message.
 * @typedef {object} Actions
 * @property {RunnelClient} client
 * @property {(item: Item) => void} regenerate
 * @property {(item: Item, text: string) => void} edit
 * @property {(item: Item, by: 1 | -1) => void} step to its neighbour on another branch
 * @property {(item: Item, changes: Partial<Reaction>) => void} react
 * @property {(item: Item) => void} drop does not send it after all
 * @property {(error: unknown) => void} failed
 */

export class MessageView {
  branches;
  /** @type {Answer | null} */ #answer = null;
  /** @type {string | null} what the element was given */ #text = null;
  /** @type {string | null} */ #files = null;
  #actions;
  #content;
  #shown;
  #attached = h("div", { class: "turn-files" });
  #note = h("div", { class: "turn-note" });
  #noted = "";
  #details = new Details();
  /** @type {Reactions | null} */ #reactions = null;
  /** @type {HTMLButtonElement[]} those that ask something */ #asking = [];
  /** @type {HTMLButtonElement | null} the same, of an answer that failed */ #tryAgain = null;
  #editing = false;
  #drawn = false;
  #busy = false;
  #foot;

  /** @param {Item} item @param {Actions} actions */
  constructor(item, actions) {
    /** The newest that is known of it. */
    this.item = item;
    this.#actions = actions;
    this.#content = h("div", {
      class: "turn-text",
      "data-testid": "message",
      "data-role": item.role,
      dir: "auto",
    });
    const Shown = item.role === "assistant" ? AnswerText : PlainText;
    this.#shown = new Shown(this.#content);
    this.branches = new BranchBar((by) => actions.step(this.item, by));
    this.#foot = h("footer", { class: "turn-foot" }, ...this.#buttons(item), this.branches.element);
    if (item.role === "assistant") this.#foot.append(this.#details.element);
    this.element = h(
      "article",
      { class: "turn", "data-of": item.role },
      this.#attached,
      this.#content,
      this.#note,
      this.#foot,
    );
    this.update(item);
  }

  /** Fulfilled when all of its text is shown. */
  get settled() {
    return this.#shown.settled;
  }

  /** @param {Item} item @param {boolean} [busy] whether nothing can be asked now */
  update(item, busy = false) {
    if (this.#drawn && isSame(item, this.item) && busy === this.#busy) return;
    this.#drawn = true;
    this.#busy = busy;
    this.item = item;
    setAttribute(this.element, "aria-label", nameOf(item));
    setAttribute(this.element, "data-last", item.last);
    this.#showText(item);
    this.#showStatus(item);
    this.#showFiles(item);
    this.#showNote(item);
    this.branches.show(item.place, item.places);
    this.#foot.hidden = this.#editing || item.message === null || item.answer !== null;
    for (const button of this.#asking) button.disabled = busy;
    if (this.#tryAgain) this.#tryAgain.disabled = busy;
    if (item.message) {
      this.#details.show(item.message);
      this.#reactions?.show(item.message.reactions);
    }
  }

  /** An answer has ended for its reader when all of it is shown. @param {Item} item */
  async #showStatus({ status }) {
    if (status !== "queued" && status !== "running") await this.#shown.settled;
    if (status === this.item.status) setAttribute(this.#content, "data-status", status);
  }

  // ---- its text

  /** @param {Item} item */
  #showText({ answer, text }) {
    if (answer) this.#follow(answer);
    else if (this.#text !== text) {
      this.#text = text;
      this.#shown.set(text);
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
      if (this.#text === "") this.#showNote(this.item);
      this.#text += text;
      this.#shown.append(text);
    });
    answer.addEventListener("reset", (event) => {
      this.#text = /** @type {any} */ (event).detail.text;
      this.#shown.set(/** @type {string} */ (this.#text));
    });
    if (answer.end) this.#shown.end();
    for (const end of ["end", "aborted", "failed"]) {
      answer.addEventListener(end, () => this.#shown.end());
    }
  }

  // ---- what stands beside it

  /** @param {Item} item */
  #showFiles({ attachments }) {
    const files = attachments.map((file) => file.attachment_id).join();
    if (files === this.#files) return;
    this.#files = files;
    const { client, failed } = this.#actions;
    this.#attached.replaceChildren(
      ...attachments.map((file) => attachedFile(client, file, failed)),
    );
  }

  /** @param {Item} item */
  #showNote(item) {
    const { kind, text } = noteOf(item);
    if (this.#noted === kind + text) return;
    this.#noted = kind + text;
    setAttribute(this.#note, "data-kind", kind || null);
    this.#note.replaceChildren();
    if (kind === "waiting") {
      this.#note.append(h("span", { class: "dots", role: "img", "aria-label": text }));
      return;
    }
    if (text) this.#note.append(h("span", {}, text));
    if (kind === "failed") {
      const press = () => this.#actions.regenerate(this.item);
      const attributes = { type: "button", "data-testid": "try-again", onclick: press };
      this.#tryAgain = h("button", attributes, icon("again"), t("tryAgain"));
      this.#note.append(this.#tryAgain);
    }
    if (kind === "queued") {
      const press = () => this.#actions.drop(this.item);
      this.#note.append(
        h("button", { type: "button", "data-testid": "drop", onclick: press }, t("dropIt")),
      );
    }
  }

  /** @param {Item} item */
  #buttons({ role }) {
    if (role === "user") {
      const edit = iconButton("edit", t("edit"), {
        "data-testid": "edit",
        onclick: () => this.#edit(),
      });
      this.#asking.push(edit);
      return [this.#copyButton(), edit];
    }
    if (role !== "assistant") return [];
    const again = iconButton("again", t("regenerate"), {
      "data-testid": "regenerate",
      onclick: () => this.#actions.regenerate(this.item),
    });
    this.#asking.push(again);
    this.#reactions = new Reactions((changes) => this.#actions.react(this.item, changes));
    return [this.#copyButton(), again, this.#reactions.element];
  }

  #copyButton() {
    const button = iconButton("copy", t("copy"), {
      "data-testid": "copy",
      onclick: async () => {
        const notes = { done: t("copied"), failed: t("notCopied") };
        if (!(await copy(this.item.text, notes))) return;
        button.replaceChildren(icon("check"));
        setTimeout(() => button.replaceChildren(icon("copy")), 1500);
      },
    });
    return button;
  }

  #edit() {
    const done = () => {
      editor.element.remove();
      this.#editing = this.#content.hidden = this.#foot.hidden = false;
    };
    const editor = questionEditor(this.item.text, {
      ask: (text) => {
        done();
        this.#actions.edit(this.item, text);
      },
      cancel: () => {
        done();
        this.#foot.querySelector("button")?.focus();
      },
    });
    this.#editing = this.#content.hidden = this.#foot.hidden = true;
    this.#content.after(editor.element);
    editor.begin();
  }
}

/** Items are made anew; what is in them is not. @param {Item} one @param {Item} other */
function isSame(one, other) {
  return /** @type {(keyof Item)[]} */ (Object.keys(one)).every((key) => one[key] === other[key]);
}

/** @param {Item} item */
function nameOf({ role, message }) {
  const model = message?.metadata.agent_used;
  if (role === "assistant") return model ? t("answerBy", { model }) : t("answer");
  return t(role === "user" ? "you" : "system");
}

/** What is to be said of how it stands. @param {Item} item */
function noteOf({ role, status, asked, waits, answer, message }) {
  if (asked && waits) return { kind: "queued", text: t("queued") };
  if (role === "user") {
    return asked ? { kind: "sending", text: t("sending") } : { kind: "", text: "" };
  }
  const finish = message?.metadata.finish_reason;
  switch (status) {
    case "queued":
    case "running":
      return answer?.text ? { kind: "", text: "" } : { kind: "waiting", text: t("thinking") };
    case "failed":
    case "interrupted":
      return {
        kind: "failed",
        text: why(message?.metadata.error ?? { code: status, message: "" }),
      };
    case "aborted":
      return { kind: "stopped", text: t("stopped") };
    default:
      if (finish === "length" || finish === "content_filter")
        return { kind: "cut", text: t(finish) };
      return { kind: "", text: "" };
  }
}
