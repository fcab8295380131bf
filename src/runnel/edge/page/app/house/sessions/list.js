/** The list of sessions: search, entries, and more of them as one scrolls. */

import { h } from "../../dom.js";
import { words } from "../../words.js";
import { whyOf } from "../../talk/faults.js";
import { confirmed } from "../dialogs.js";
import { icon } from "../../icons.js";
import { Entry, titleOf } from "./entry.js";
import { download } from "./exporting.js";
import { Listing } from "./listing.js";

/** @import { RunnelClient } from "../../../client.js" */
/** @import { EntryActions } from "./entry.js" */

const t = words({
  en: {
    search: "Search sessions",
    list: "Sessions",
    none: "Nothing here yet. What you ask begins a session.",
    notFound: "Nothing was found for “{query}”.",
    loading: "Loading …",
    retry: "Try again",
    more: "Show more",
    deleteTitle: "Delete this session?",
    deleteText: "“{title}” and all that was said in it will be gone for good.",
    deleteYes: "Delete for good",
    deleted: "“{title}” was deleted.",
    closed: "“{title}” was closed. Its history stays.",
  },
  pt: {
    search: "Buscar sessões",
    list: "Sessões",
    none: "Nada aqui ainda. Sua primeira pergunta começa uma sessão.",
    notFound: "Nada foi encontrado para “{query}”.",
    loading: "Carregando …",
    retry: "Tentar de novo",
    more: "Mostrar mais",
    deleteTitle: "Excluir esta sessão?",
    deleteText: "“{title}” e tudo o que foi dito nela deixará de existir.",
    deleteYes: "Excluir de vez",
    deleted: "“{title}” foi excluída.",
    closed: "“{title}” foi fechada. O histórico permanece.",
  },
});

const SEARCH_DELAY_MS = 250;
const TICK_MS = 30_000;
/** How often it is looked again while something listed is being answered. */
const RUNNING_MS = 5_000;

/**
 * @typedef {object} ListWishes
 * @property {(session: any) => void} open
 * @property {(session: any) => void} changed it was closed, opened again or renamed here
 * @property {(session: any) => void} deleted
 * @property {(text: string, kind?: "info" | "error") => void} tell
 */

export class SessionList {
  #client;
  #wishes;
  #listing;
  /** @type {Map<string, Entry>} */ #entries = new Map();
  /** @type {string | null} */ #current = null;
  #input;
  #list = h("ul", { class: "entries" });
  #note = h("p", { class: "list-note", role: "status" });
  #retry = h("button", { type: "button", class: "button", onclick: () => this.read() }, t("retry"));
  #more = h(
    "button",
    { type: "button", class: "button list-more", onclick: () => this.#listing.readMore() },
    t("more"),
  );
  #timers = /** @type {ReturnType<typeof setInterval>[]} */ ([]);
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #searching;

  /** @param {RunnelClient} client @param {ListWishes} wishes */
  constructor(client, wishes) {
    this.#client = client;
    this.#wishes = wishes;
    this.#listing = new Listing(client);
    this.#listing.addEventListener("change", () => this.#show());
    this.#input = h("input", {
      type: "search",
      "data-testid": "search",
      "aria-label": t("search"),
      placeholder: t("search"),
      autocomplete: "off",
      maxlength: 200,
      oninput: () => this.#typed(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#searchKey(event),
    });
    const scroller = h(
      "div",
      { class: "list-scroller", onkeydown: (/** @type {KeyboardEvent} */ e) => this.#key(e) },
      this.#list,
      this.#note,
      this.#retry,
      this.#more,
    );
    const search = h("div", { class: "search", role: "search" }, icon("search"), this.#input);
    this.element = h("div", { class: "list" }, search, scroller);
    const seen = new IntersectionObserver(
      ([{ isIntersecting }]) => isIntersecting && this.#listing.readMore(),
      { root: scroller, rootMargin: "200px" },
    );
    seen.observe(this.#more);
    this.#timers.push(setInterval(() => this.#tick(), TICK_MS));
    this.#timers.push(setInterval(() => this.#lookAgain(), RUNNING_MS));
    this.#show();
  }

  /** Reads it again. */
  read() {
    return this.#listing.read();
  }

  /** The one that is open. @param {string | null} id */
  set current(id) {
    this.#current = id;
    this.#show();
  }

  /** What is known of a session, if it is listed. @param {string} id */
  get(id) {
    return this.#listing.sessions.find((each) => each.session_id === id) ?? null;
  }

  focusSearch() {
    this.#input.focus();
    this.#input.select();
  }

  /** It is not shown any more. */
  leave() {
    this.#timers.forEach(clearInterval);
    clearTimeout(this.#searching);
  }

  /** @type {EntryActions} */
  #actions = {
    open: (session) => this.#wishes.open(session),
    rename: (session, title) =>
      this.#change(session, { title }, (id) => this.#client.sessions.update(id, { title })),
    close: async (session) => {
      const done = await this.#change(session, { status: "closed" }, (id) =>
        this.#client.sessions.close(id),
      );
      if (done) this.#wishes.tell(t("closed", { title: titleOf(session) }));
    },
    reopen: (session) =>
      this.#change(session, { status: "active" }, (id) =>
        this.#client.sessions.update(id, { status: "active" }),
      ),
    export: async (session, format) => {
      try {
        await download(this.#client, session, format);
      } catch (error) {
        this.#wishes.tell(whyOf(error), "error");
      }
    },
    delete: async (session) => {
      const title = titleOf(session);
      if (!(await confirmed(t("deleteTitle"), t("deleteText", { title }), t("deleteYes")))) return;
      const done = await this.#change(session, null, (id) => this.#client.sessions.purge(id));
      if (done) this.#wishes.tell(t("deleted", { title }));
    },
  };

  /**
   * @param {any} session
   * @param {Record<string, unknown> | null} changes
   * @param {(id: string) => Promise<unknown>} make
   */
  async #change(session, changes, make) {
    const id = session.session_id;
    try {
      await this.#listing.change(id, changes, () => make(id));
    } catch (error) {
      this.#wishes.tell(whyOf(error), "error");
      return false;
    }
    if (changes) this.#wishes.changed({ ...session, ...changes });
    else this.#wishes.deleted(session);
    return true;
  }

  // ---- what is shown

  #show() {
    const { sessions } = this.#listing;
    const ids = new Set(sessions.map((session) => session.session_id));
    const focusedAt = this.#links().findIndex((link) => link === document.activeElement);
    for (const [id, entry] of this.#entries) {
      if (ids.has(id)) continue;
      entry.element.remove();
      this.#entries.delete(id);
    }
    /** @type {Element | null} */
    let next = this.#list.firstElementChild;
    for (const session of sessions) {
      const id = session.session_id;
      let entry = this.#entries.get(id);
      if (!entry) this.#entries.set(id, (entry = new Entry(session, this.#actions)));
      entry.update(session, id === this.#current);
      if (entry.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(entry.element, next);
    }
    this.#keepFocus(focusedAt);
    this.#showNote();
  }

  /** Who was at an entry that is gone goes on at the next. @param {number} focusedAt */
  #keepFocus(focusedAt) {
    if (focusedAt < 0 || document.activeElement !== document.body) return;
    const links = this.#links();
    (links[Math.min(focusedAt, links.length - 1)] ?? this.#input).focus();
  }

  #showNote() {
    const { sessions, query, ready, fault, more } = this.#listing;
    const shown = sessions.length;
    let note = "";
    if (fault) note = whyOf(fault);
    else if (!ready && shown === 0) note = t("loading");
    else if (ready && shown === 0) note = query ? t("notFound", { query }) : t("none");
    if (this.#note.textContent !== note) this.#note.textContent = note;
    this.#note.hidden = note === "";
    this.#note.dataset.kind = fault ? "error" : "";
    this.#retry.hidden = !fault;
    this.#more.hidden = !more || Boolean(fault);
    this.#list.hidden = shown === 0;
    this.#list.setAttribute("aria-label", t("list"));
    this.#list.setAttribute("aria-busy", String(!ready));
  }

  #tick() {
    if (document.hidden) return;
    for (const entry of this.#entries.values()) entry.tick();
  }

  #lookAgain() {
    if (document.hidden) return;
    const running = this.#listing.sessions.some((session) => session.running_generation_id);
    if (running || this.#listing.fault) this.read();
  }

  // ---- keys

  #typed() {
    clearTimeout(this.#searching);
    this.#searching = setTimeout(() => this.#search(), SEARCH_DELAY_MS);
  }

  #search() {
    clearTimeout(this.#searching);
    return this.#listing.search(this.#input.value.trim());
  }

  /** @param {KeyboardEvent} event */
  async #searchKey(event) {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      await this.#search();
      this.#links()[0]?.focus();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#links()[0]?.focus();
    } else if (event.key === "Escape" && this.#input.value) {
      event.preventDefault();
      event.stopPropagation();
      this.#input.value = "";
      this.#search();
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const links = this.#links();
    const now = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    if (now < 0) return;
    /** @type {Record<string, HTMLElement | undefined>} */
    const to = {
      ArrowDown: links[now + 1],
      ArrowUp: links[now - 1] ?? this.#input,
      Home: links[0],
      End: links.at(-1),
    };
    if (!(event.key in to)) return;
    event.preventDefault();
    to[event.key]?.focus();
  }

  #links() {
    return /** @type {HTMLAnchorElement[]} */ ([...this.#list.querySelectorAll(".entry-link")]);
  }
}
