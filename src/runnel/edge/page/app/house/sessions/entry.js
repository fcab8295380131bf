/** One session in the list: a link to it, its state, and a menu of what can be done with it. */

import { h, setAttribute } from "../../dom.js";
import { words } from "../../words.js";
import { addressOf } from "../addresses.js";
import { iconButton } from "../../icons.js";
import { opensMenu } from "../menus.js";
import { FORMATS } from "./exporting.js";
import { piecesOf } from "./snippets.js";
import { exact, relative } from "./times.js";

/** @import { Format } from "./exporting.js" */

const t = words({
  en: {
    untitled: "New session",
    closed: "closed",
    running: "is being answered",
    menu: "More for “{title}”",
    rename: "Rename",
    close: "Close",
    reopen: "Open again",
    delete: "Delete for good …",
    export: "Export",
    markdown: "Markdown",
    text: "Plain text",
    json: "JSON",
    jsonl: "JSON Lines",
    title: "Title",
  },
  pt: {
    untitled: "Nova sessão",
    closed: "fechada",
    running: "está sendo respondida",
    menu: "Mais sobre “{title}”",
    rename: "Renomear",
    close: "Fechar",
    reopen: "Reabrir",
    delete: "Excluir de vez …",
    export: "Exportar",
    markdown: "Markdown",
    text: "Texto simples",
    json: "JSON",
    jsonl: "JSON Lines",
    title: "Título",
  },
});

/** As many places of a session as are shown under it. */
const MOST_MATCHES = 2;

/**
 * What can be asked for of a session.
 * @typedef {object} EntryActions
 * @property {(session: any) => void} open
 * @property {(session: any, title: string) => void} rename
 * @property {(session: any) => void} close
 * @property {(session: any) => void} reopen
 * @property {(session: any, format: Format) => void} export
 * @property {(session: any) => void} delete
 */

/** @param {any} session */
export function titleOf(session) {
  return session.title || t("untitled");
}

export class Entry {
  #session;
  #actions;
  #title = h("span", { class: "entry-title", dir: "auto" });
  #dot = h("span", { class: "entry-running" }, h("span", { class: "unseen" }, t("running")));
  #closed = h("span", { class: "entry-closed" }, t("closed"));
  #time = h("time", { class: "entry-time" });
  #matches = h("span", { class: "entry-matches" });
  #link;
  #menu;
  /** @type {HTMLFormElement | null} while it is renamed */ #form = null;

  /** @param {any} session @param {EntryActions} actions */
  constructor(session, actions) {
    this.#session = session;
    this.#actions = actions;
    this.#link = h(
      "a",
      {
        class: "entry-link",
        "data-testid": "session",
        "data-session-id": session.session_id,
        href: addressOf({ session: session.session_id, view: null }),
        onclick: (/** @type {MouseEvent} */ event) => this.#clicked(event),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      },
      this.#title,
      h("span", { class: "entry-state" }, this.#dot, this.#closed, this.#time),
      this.#matches,
    );
    this.#menu = iconButton("more", "", {
      class: "icon-button entry-menu",
      "data-testid": "session-menu",
    });
    opensMenu(this.#menu, () => this.#items());
    this.element = h("li", { class: "entry" }, this.#link, this.#menu);
    this.update(session, false);
  }

  get link() {
    return this.#link;
  }

  /** @param {any} session @param {boolean} current whether it is the one that is open */
  update(session, current) {
    this.#session = session;
    const title = titleOf(session);
    if (this.#title.textContent !== title) this.#title.textContent = title;
    this.#link.title = title;
    const label = t("menu", { title });
    this.#menu.setAttribute("aria-label", label);
    this.#menu.title = "";
    this.#dot.hidden = !session.running_generation_id;
    this.#closed.hidden = session.status !== "closed";
    setAttribute(this.#link, "aria-current", current && "page");
    this.#link.dataset.status = session.status;
    this.#showMatches(session.matches ?? []);
    this.tick();
  }

  /** Time has passed. */
  tick() {
    const { last_activity: time } = this.#session;
    const text = relative(time);
    if (this.#time.textContent === text) return;
    this.#time.textContent = text;
    this.#time.dateTime = time;
    this.#time.title = exact(time);
  }

  /** @param {{ message_id: string | null, snippet: string }[]} matches */
  #showMatches(matches) {
    // That of the title is to be seen there.
    const shown = matches.filter((match) => match.message_id !== null).slice(0, MOST_MATCHES);
    this.#matches.hidden = shown.length === 0;
    this.#matches.replaceChildren(
      ...shown.map(({ snippet }) =>
        h(
          "span",
          { class: "entry-match", dir: "auto", "data-testid": "match" },
          ...piecesOf(snippet),
        ),
      ),
    );
  }

  #items() {
    const session = this.#session;
    const actions = this.#actions;
    const closed = session.status === "closed";
    return [
      { label: t("rename"), testid: "rename", run: () => this.#rename() },
      closed
        ? { label: t("reopen"), testid: "reopen", run: () => actions.reopen(session) }
        : { label: t("close"), testid: "close", run: () => actions.close(session) },
      {
        label: t("export"),
        items: FORMATS.map((format) => ({
          label: t(format),
          testid: `export-${format}`,
          run: () => actions.export(session, format),
        })),
      },
      { label: t("delete"), testid: "delete", danger: true, run: () => actions.delete(session) },
    ];
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    // With a key held it goes where the browser opens it, as any link does.
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.#actions.open(this.#session);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "F2") this.#rename();
    else if (event.key === "Delete") this.#actions.delete(this.#session);
  }

  /** The title becomes a field in its own place. Leaving it keeps what was written. */
  #rename() {
    if (this.#form) return;
    const before = this.#session.title ?? "";
    const input = h("input", {
      class: "entry-input",
      "aria-label": t("title"),
      "data-testid": "title",
      maxlength: 200,
      value: before,
    });
    /** @param {boolean} keep */
    const done = (keep) => {
      const form = this.#form;
      if (!form) return;
      // Before it goes: going takes the focus from it, which calls this again.
      this.#form = null;
      const focused = form.contains(document.activeElement);
      const title = input.value.replace(/\s+/g, " ").trim();
      form.replaceWith(this.#link);
      this.#menu.hidden = false;
      if (focused) this.#link.focus();
      if (keep && title && title !== before) this.#actions.rename(this.#session, title);
    };
    this.#form = h(
      "form",
      {
        class: "entry-form",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          done(true);
        },
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
          event.stopPropagation();
          if (event.key === "Escape") done(false);
        },
        onfocusout: () => done(true),
      },
      input,
    );
    this.#link.replaceWith(this.#form);
    this.#menu.hidden = true;
    input.focus();
    input.select();
  }
}
