/**
 * What the next question is asked with: the model, the params, and the session that is open. A
 * model is kept with its session; params stay with the tab.
 */

/** @import { RunnelClient } from "../../client.js" */
/** @import { Options } from "../app.js" */

/** Tells `change`. */
export class Choices extends EventTarget {
  /** @type {any} as the API tells of it; null for a new one */
  session = null;
  /** @type {{ default: string | null, models: any[] }} */
  models = { default: null, models: [] };
  /** @type {Record<string, unknown>} */
  #params;
  /** @type {string | null} chosen here; null: whatever the session has */
  #model = null;
  #client;
  #key;

  /** @param {RunnelClient} client @param {string} userId */
  constructor(client, userId) {
    super();
    this.#client = client;
    this.#key = `runnel.params.${userId}`;
    this.#params = kept(this.#key);
  }

  /** @returns {Options} */
  options() {
    return { model: this.#model, params: { ...this.#params } };
  }

  get params() {
    return this.#params;
  }

  set params(params) {
    this.#params = params;
    sessionStorage.setItem(this.#key, JSON.stringify(params));
    this.#tell();
  }

  /** The alias that will answer, as far as it is known. @returns {string | null} */
  get model() {
    return this.#model ?? this.session?.settings.model_preference ?? this.models.default;
  }

  /** Raises RunnelError. */
  async readModels() {
    this.models = await this.#client.models();
    this.#tell();
  }

  /** Another session is shown. */
  leave() {
    this.session = null;
    this.#model = null;
    this.#tell();
  }

  /** What is shown now, as the API tells of it. Raises RunnelError. @param {any} session */
  async enter(session) {
    // The model that a session was begun with is kept with it from then on.
    const begun = this.session === null && this.#model !== null;
    if (this.session && this.session.session_id !== session.session_id) this.#model = null;
    this.session = session;
    this.#tell();
    if (begun && session.settings.model_preference !== this.#model) {
      await this.set({ model_preference: this.#model });
    }
  }

  /** Raises RunnelError if it cannot be kept; it is asked all the same. @param {string} alias */
  async chooseModel(alias) {
    this.#model = alias;
    this.#tell();
    if (this.session) await this.set({ model_preference: alias });
  }

  /** Changes the session's settings. Raises RunnelError. @param {Record<string, unknown>} settings */
  async set(settings) {
    const id = this.session.session_id;
    const session = await this.#client.sessions.update(id, { settings });
    if (this.session?.session_id === id) this.session = session;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {string} key */
function kept(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key) ?? "{}");
  } catch {
    return {};
  }
}
