/** The page of who is signed in: it holds the parts together, and knows which session is open. */

import { words } from "../words.js";
import { Talk } from "../talk/talk.js";
import { draftOf, keepDraft } from "../talk/drafts.js";
import { whyOf } from "../talk/faults.js";
import { accountButton } from "./account/menu.js";
import { NEW, go, here, rename } from "./addresses.js";
import { Choices } from "./choices.js";
import { Connection } from "./connection.js";
import { ModelPicker } from "./model_picker.js";
import { SessionList } from "./sessions/list.js";
import { titleOf } from "./sessions/entry.js";
import { showSettings } from "./settings.js";
import { Shell } from "./shell.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Tabs } from "./tabs.js";

/** @import { RunnelClient } from "../../client.js" */
/** @import { App } from "../app.js" */
/** @import { Draft } from "../talk/drafts.js" */
/** @import { Place } from "./addresses.js" */
/** @import { Notes } from "./notes.js" */

const t = words({
  en: {
    newSession: "New session",
    admin: "Administration",
    unknown: "That session is not there, or is not yours. Here is a new one.",
    gone: "That session was deleted. Here is a new one.",
    notAdmin: "Only an admin can see that.",
  },
  pt: {
    newSession: "Nova sessão",
    admin: "Administração",
    unknown: "Esta sessão não existe ou não é sua. Aqui está uma nova.",
    gone: "Esta sessão foi excluída. Aqui está uma nova.",
    notAdmin: "Só um administrador pode ver isto.",
  },
});

/**
 * @typedef {object} HouseWishes
 * @property {() => void} signOut
 * @property {() => void} signIn of a guest
 */

export class House {
  #client;
  #notes;
  #talk;
  #shell;
  #list;
  #choices;
  #tabs;
  #me;
  /** @type {Place} */ #place = NEW;
  /** @type {{ element: HTMLElement, show(): void, hide(): void } | null} */ #admin = null;
  #abort = new AbortController();

  /**
   * @param {RunnelClient} client
   * @param {any} me
   * @param {Notes} notes
   * @param {HouseWishes} wishes
   */
  constructor(client, me, notes, wishes) {
    this.#client = client;
    this.#notes = notes;
    this.#me = me;
    const tell = notes.tell.bind(notes);
    this.#choices = new Choices(client, me.id);
    /** @type {App} */
    const app = {
      client,
      me,
      tell,
      options: () => this.#choices.options(),
      open: (session) => this.open(session),
      opened: (session) => this.#opened(session),
      gone: (session, draft) => this.#gone(session, draft),
      changed: () => this.#changed(),
    };
    this.#app = app;
    this.#list = new SessionList(client, {
      tell,
      open: (session) => this.open(session.session_id),
      changed: (session) => this.#changedHere(session),
      deleted: (session) => this.#deleted(session),
    });
    this.#talk = new Talk(app);
    this.#shell = new Shell({
      list: this.#list.element,
      model: new ModelPicker(this.#choices, (work) => this.#attempt(work)).element,
      connection: new Connection(client).element,
      account: accountButton(client, me, client.token === null, {
        ...wishes,
        tell,
        admin: () => this.#goTo({ session: null, view: "admin" }),
      }),
      newSession: () => this.open(null),
      settings: () => showSettings(this.#choices, (prompt) => this.#setPrompt(prompt)),
      composer: () => this.#talk.focus(),
    });
    this.element = this.#shell.element;
    this.#choices.addEventListener("change", () => this.#showMarks());
    this.#tabs = new Tabs(me.id, () => this.#list.read());
    this.#listen();
    this.#showMarks();
  }

  /** @type {App} */ #app;

  get me() {
    return this.#me;
  }

  /** Reads what there is, and goes where the address says. */
  async begin() {
    this.#list.read();
    this.#readModels();
    await this.#show(here());
  }

  /** Whoever was signed out is there again: as it was. */
  resume() {
    return this.begin();
  }

  /** @param {string | null} sessionId null: a new one */
  open(sessionId) {
    this.#goTo({ session: sessionId, view: null });
  }

  /** It is not shown any more. */
  leave() {
    this.#abort.abort();
    this.#list.leave();
    this.#tabs.leave();
    this.#shell.leave();
    this.#admin?.hide();
    this.#talk.show(null);
  }

  #listen() {
    const { signal } = this.#abort;
    addEventListener("popstate", () => this.#show(here()), { signal });
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
    addEventListener("focus", () => this.#seen(), { signal });
    this.#client.addEventListener("state", () => this.#client.state === "live" && this.#seen(), {
      signal,
    });
    const shortcuts = {
      search: () => {
        this.#shell.showList();
        this.#list.focusSearch();
      },
      newSession: () => this.open(null),
      composer: () => this.#talk.focus(),
    };
    listenForShortcuts(shortcuts, signal);
  }

  #seen() {
    if (document.hidden) return;
    this.#list.read();
    if (this.#choices.models.models.length === 0) this.#readModels();
  }

  #readModels() {
    // Without the list the server chooses; it is read again when the page is looked at.
    this.#choices.readModels().catch(() => {});
  }

  // ---- where one is

  /** @param {Place} place */
  #goTo(place) {
    go(place);
    this.#show(place);
  }

  /** @param {Place} place @returns {Promise<void>} */
  async #show(place) {
    this.#shell.closeDrawer();
    if (place.view === "admin") {
      if (this.#me.role === "admin") return this.#showAdmin(place);
      this.#notes.tell(t("notAdmin"), "error");
      rename((place = NEW));
    }
    this.#admin?.hide();
    this.#enter(place);
    const { session } = place;
    this.#shell.show(this.#talk.element, "talk");
    this.#shell.title = this.#titleNow();
    const unknown = session !== null && (await this.#isUnknown(session));
    if (this.#place !== place) return;
    if (unknown) {
      this.#notes.tell(t("unknown"));
      rename(NEW);
      return this.#show(NEW);
    }
    this.#talk.focus();
    await this.#talk.show(session);
  }

  /** @param {Place} place */
  #enter(place) {
    const same = place.session !== null && place.session === this.#choices.session?.session_id;
    this.#place = place;
    this.#list.current = place.session;
    if (!same) this.#choices.leave();
  }

  /** What is not in the list may not be there at all. @param {string} id */
  async #isUnknown(id) {
    if (this.#list.get(id)) return false;
    try {
      await this.#client.sessions.get(id);
      return false;
    } catch (error) {
      const { code } = /** @type {{ code?: string }} */ (error);
      return code === "not_found" || code === "invalid_request";
    }
  }

  /** @param {Place} place */
  async #showAdmin(place) {
    this.#enter(place);
    this.#shell.title = t("admin");
    try {
      const { Admin } = await import("../admin/admin.js");
      if (this.#place !== place) return;
      this.#admin ??= new Admin(this.#app);
      this.#shell.show(this.#admin.element, "admin");
      this.#admin.show();
    } catch (error) {
      this.#notes.tell(whyOf(error), "error");
    }
  }

  #titleNow() {
    const { session } = this.#place;
    if (session === null) return t("newSession");
    const known = this.#list.get(session) ?? this.#choices.session;
    return known ? titleOf(known) : "Runnel";
  }

  // ---- what happens

  /** @param {any} session */
  #opened(session) {
    // The talk goes on behind the administration, which is what is shown.
    if (this.#place.view !== null) return;
    const { session_id: id } = session;
    const place = { session: id, view: null };
    // A new one has got its id, or one was opened by its name.
    if (this.#place.session !== id) rename(place);
    this.#place = place;
    this.#list.current = id;
    this.#attempt(this.#choices.enter(session));
    this.#shell.title = titleOf(session);
  }

  #changed() {
    this.#list.read();
    this.#tabs.tell();
  }

  /** @param {any} session */
  #changedHere(session) {
    this.#tabs.tell();
    if (session.session_id !== this.#place.session) return;
    this.#shell.title = titleOf(session);
    if (session.status !== this.#choices.session?.status) this.#talk.show(session.session_id);
  }

  /** @param {any} session */
  #deleted(session) {
    this.#tabs.tell();
    if (session.session_id !== this.#place.session) return;
    rename(NEW);
    this.#show(NEW);
  }

  /** Somebody has deleted it elsewhere. What was being written goes on in a new one.
   *  @param {string} sessionId @param {Draft} draft */
  #gone(sessionId, draft) {
    if (sessionId !== this.#place.session) return;
    const { id } = this.#me;
    const other = draftOf(id, null);
    const texts = [other.text, draft.text].filter((text) => text !== "");
    keepDraft(id, null, { text: texts.join("\n\n"), files: [...other.files, ...draft.files] });
    keepDraft(id, sessionId, { text: "", files: [] });
    this.#notes.tell(t("gone"));
    this.#list.read();
    rename(NEW);
    this.#show(NEW);
  }

  /** A prompt belongs to a session: there is one from then on. @param {string} prompt */
  async #setPrompt(prompt) {
    const settings = { system_prompt: prompt || null };
    if (this.#choices.session) return this.#choices.set(settings);
    const { model } = this.#choices.options();
    const session = await this.#client.sessions.create({
      settings: { ...settings, model_preference: model },
    });
    const { id } = this.#me;
    keepDraft(id, session.session_id, draftOf(id, null));
    keepDraft(id, null, { text: "", files: [] });
    this.#changed();
    this.open(session.session_id);
  }

  #showMarks() {
    const { params, session } = this.#choices;
    const prompt = session?.settings.system_prompt;
    this.#shell.marked = Object.keys(params).length > 0 || Boolean(prompt);
  }

  /** @param {Promise<unknown>} work */
  async #attempt(work) {
    try {
      await work;
    } catch (error) {
      this.#notes.tell(whyOf(error), "error");
    }
  }
}
