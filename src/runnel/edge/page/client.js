// @ts-check
/**
 * Runnel's client for web pages and Node 20: one file, no dependency.
 *
 *     import { RunnelClient } from "https://chat.example.org/client.js";
 *     const client = new RunnelClient({ baseUrl: "https://chat.example.org", token });
 *     for await (const event of client.ask({ message: "Hello" })) {
 *       if (event.type === "token") show(event.text);
 *     }
 *
 * Every answer is followed by its positions: whatever breaks in between, no text is repeated and
 * none is lost.
 */

// ------------------------------------------------------------------ what there is to be told

/**
 * @typedef {{ prompt_tokens: number, completion_tokens: number, total_tokens: number,
 *   source: string, cost?: number | null }} Usage
 * @typedef {{ type: "start", position: string, generation_id: string, session_id: string,
 *   message_id: string, user_message_id: string, model: string }} StartEvent
 * @typedef {{ type: "token", position: string, text: string }} TokenEvent
 * @typedef {{ type: "reset", position: string, text: string }} ResetEvent
 *   Replaces all the text there was.
 * @typedef {{ type: "end", position: string, finish_reason: string, usage: Usage | null,
 *   model: string, provider: string, provider_model: string, text_length: number,
 *   latency_ms: number, first_token_ms: number | null }} EndEvent
 * @typedef {{ type: "aborted", position: string, by: string, usage: Usage | null }} AbortedEvent
 * @typedef {{ type: "failed", position: string, code: string, message: string,
 *   retryable: boolean }} FailedEvent
 * @typedef {StartEvent | TokenEvent | ResetEvent | EndEvent | AbortedEvent | FailedEvent} AnswerEvent
 */

/**
 * What is asked. `sessionId` is a session's id, or a name of yours.
 * @typedef {object} Question
 * @property {string} [message]
 * @property {{ role: "system" | "user" | "assistant", content: string }[]} [messages]
 * @property {string} [sessionId]
 * @property {string} [model]
 * @property {Record<string, unknown>} [params]
 * @property {string[]} [attachments] ids of what was uploaded
 * @property {string} [clientMessageId] one is made where none is given
 */

/**
 * Where a question has got to. `queued`: it waits here, for the network or for the answer before
 * it. `connecting`: it is being sent, or the answer is being attached to, again maybe.
 * @typedef {"queued" | "connecting" | "running" | "completed" | "aborted" | "failed"} AnswerStatus
 */

// ------------------------------------------------------------------ errors

/** Whatever goes wrong. `code` is the server's own (`rate_limited`, `busy`, ...), or `network`. */
export class RunnelError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ status?: number, retryable?: boolean, retryAfter?: number | null,
   *   requestId?: string | null, facts?: Record<string, any>, cause?: unknown }} [more]
   */
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = new.target.name;
    this.code = code;
    /** The HTTP status, 0 where there was no answer. */
    this.status = more.status ?? 0;
    /** Whether the same may go well a little later. */
    this.retryable = more.retryable ?? false;
    /** Seconds the server asks to wait, if it does. */
    this.retryAfter = more.retryAfter ?? null;
    this.requestId = more.requestId ?? null;
    /** What else the server said: `errors`, `generation_id`, `events_url`, ... */
    this.facts = more.facts ?? {};
  }
}
/** The server cannot be reached. */
export class NetworkError extends RunnelError {}
/** The login does not hold any more: sign in again. */
export class UnauthorizedError extends RunnelError {}
/** What was sent is wrong; `facts.errors` names the fields. */
export class InvalidRequestError extends RunnelError {}
/** There is no such thing, or it is somebody else's. */
export class NotFoundError extends RunnelError {}
/** An answer is being made in this session; `facts` has `generation_id`, `abort_url`. */
export class BusyError extends RunnelError {}
/** Too many; `retryAfter` says for how long. */
export class RateLimitedError extends RunnelError {}
/** The model failed, or cannot be asked. */
export class ModelError extends RunnelError {}
/** The server cannot do it now. */
export class UnavailableError extends RunnelError {}

/** @type {Record<string, typeof RunnelError>} */
const ERRORS = {
  network: NetworkError,
  unauthorized: UnauthorizedError,
  invalid_request: InvalidRequestError,
  unknown_model: InvalidRequestError,
  message_too_long: InvalidRequestError,
  payload_too_large: InvalidRequestError,
  not_found: NotFoundError,
  busy: BusyError,
  rate_limited: RateLimitedError,
  model_unavailable: ModelError,
  upstream_error: ModelError,
  upstream_rate_limited: ModelError,
  upstream_incomplete: ModelError,
  upstream_timeout: ModelError,
  overloaded: UnavailableError,
  shutting_down: UnavailableError,
  store_unavailable: UnavailableError,
  stream_unavailable: UnavailableError,
  interrupted: UnavailableError,
};

/**
 * @param {string} code
 * @param {string} message
 * @param {ConstructorParameters<typeof RunnelError>[2]} [more]
 */
function errorOf(code, message, more) {
  return new (ERRORS[code] ?? RunnelError)(code, message, more);
}

/** @param {Response} response */
async function errorOfResponse(response) {
  const problem = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After"));
  const code = problem.code ?? (response.status >= 500 ? "bad_gateway" : `http_${response.status}`);
  return errorOf(code, problem.detail ?? problem.title ?? `HTTP ${response.status}`, {
    status: response.status,
    retryable: response.status >= 500 || response.status === 408,
    retryAfter: retryAfter > 0 ? retryAfter : null,
    requestId: response.headers.get("X-Request-Id"),
    facts: problem,
  });
}

// ------------------------------------------------------------------ positions and frames

/**
 * Whether the event at a position is behind the one last read: epochs first, then offsets, as
 * numbers.
 * @param {string} position
 * @param {string | null} last
 */
export function isBehind(position, last) {
  if (last === null) return true;
  const [epoch, offset] = position.split("-").map(Number);
  const [lastEpoch, lastOffset] = last.split("-").map(Number);
  return epoch > lastEpoch || (epoch === lastEpoch && offset > lastOffset);
}

/**
 * The events of an SSE body in the dialect `events`; `null` for `[DONE]`.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<AnswerEvent | null>}
 */
async function* framesOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let [name, data, id] = ["", "", ""];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("data:")) data += line.slice(line[5] === " " ? 6 : 5);
        else if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("id:")) id = line.slice(3).trim();
        else if (line === "" && data !== "") {
          yield data === "[DONE]" ? null : { type: name, position: id, ...JSON.parse(data) };
          [name, data] = ["", ""];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// ------------------------------------------------------------------ an answer

/** An event whose `detail` says what there is to know. @template T */
class DetailEvent extends Event {
  /** @param {string} type @param {T} detail */
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

/**
 * One answer: an async iterable of its events, and an EventTarget that tells the same ones by
 * their types, and `status` whenever that changes.
 */
export class Answer extends EventTarget {
  /** @type {AnswerStatus} */
  status = "connecting";
  /** All the text so far. */
  text = "";
  /** @type {string | null} where the last event that was read stands */
  position = null;
  /** @type {string | null} */
  generationId = null;
  /** @type {string | null} */
  sessionId = null;
  /** @type {string | null} of the answer's message */
  messageId = null;
  /** @type {string | null} */
  userMessageId = null;
  /** @type {EndEvent | AbortedEvent | FailedEvent | null} */
  end = null;
  /** @type {RunnelError | null} */
  error = null;

  /** @type {RunnelClient} */ #client;
  /** @type {AnswerEvent[]} */ #events = [];
  /** @type {(() => void)[]} */ #waiting = [];
  #left = new AbortController();

  /** @param {RunnelClient} client @param {string | null} clientMessageId */
  constructor(client, clientMessageId) {
    super();
    this.#client = client;
    this.clientMessageId = clientMessageId;
    /**
     * Fulfilled once the server has the question; rejected if it never will.
     * @type {Promise<this>}
     */
    this.accepted = new Promise((resolve, reject) => {
      this.addEventListener("status", () => {
        if (this.generationId) resolve(this);
        else if (this.error) reject(this.error);
      });
    });
    /**
     * Fulfilled at the end, completed or aborted; rejected with a typed error if it failed.
     * @type {Promise<this>}
     */
    this.done = new Promise((resolve, reject) => {
      this.addEventListener("status", () => {
        if (this.error) reject(this.error);
        else if (this.end) resolve(this);
      });
    });
    // Whoever listens to events only has no use for these.
    this.accepted.catch(() => {});
    this.done.catch(() => {});
  }

  /** Aborted when nobody here follows it any more. The answer itself goes on. */
  get signal() {
    return this.#left.signal;
  }

  /** Stops following it; the answer itself goes on. */
  detach() {
    this.#left.abort();
    this.#wake();
  }

  /** Stops it for everyone; what it has said so far is kept. */
  async abort() {
    await this.accepted;
    return this.#client.abort(/** @type {string} */ (this.generationId));
  }

  async *[Symbol.asyncIterator]() {
    for (let next = 0; ;) {
      if (next < this.#events.length) yield this.#events[next++];
      else if (this.error) throw this.error;
      else if (this.end || this.signal.aborted) return;
      else await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    }
  }

  /** @internal @param {AnswerStatus} status */
  _turn(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new DetailEvent("status", status));
    this.#wake();
  }

  /** @internal @param {Record<string, any>} accepted */
  _accept(accepted) {
    this.generationId = accepted.generation_id;
    this.sessionId = accepted.session_id;
    this.messageId = accepted.message_id;
    this.userMessageId = accepted.user_message_id ?? null;
    this.dispatchEvent(new DetailEvent("status", this.status));
  }

  /** @internal @param {AnswerEvent} event */
  _take(event) {
    if (!isBehind(event.position, this.position)) return;
    this.position = event.position;
    if (event.type === "token") this.text += event.text;
    if (event.type === "reset") this.text = event.text;
    if (event.type === "end" || event.type === "aborted" || event.type === "failed") {
      this.end = event;
    }
    if (event.type === "failed") {
      this.error = errorOf(event.code, event.message, { retryable: event.retryable });
    }
    this.#events.push(event);
    this.dispatchEvent(new DetailEvent(event.type, event));
    if (event.type === "end") this._turn("completed");
    else if (event.type === "aborted") this._turn("aborted");
    else if (event.type === "failed") this._turn("failed");
    else this._turn("running");
    this.#wake();
  }

  /** @internal @param {RunnelError} error */
  _fail(error) {
    this.error = error;
    this._turn("failed");
  }

  #wake() {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

// ------------------------------------------------------------------ the client

/**
 * @typedef {object} ClientOptions
 * @property {string | URL} [baseUrl] of the server; the page's own host without it
 * @property {string} [token] an access token, or an API key
 * @property {string} [refreshToken] with it a token that has expired is renewed
 * @property {typeof globalThis.fetch} [fetch]
 */

/**
 * A server, and who asks it. Tells `tokens` when it has new ones (keep them), `signedout` when the
 * login does not hold any more, and `state` (`live`, `reconnecting`, `offline`).
 */
export class RunnelClient extends EventTarget {
  /** @type {"live" | "reconnecting" | "offline"} */
  state = "live";
  /** @type {Promise<void> | null} */ #refreshing = null;

  /** @param {ClientOptions} [options] */
  constructor(options = {}) {
    super();
    const here = typeof location === "undefined" ? undefined : location.href;
    this.baseUrl = new URL(String(options.baseUrl ?? "./").replace(/\/*$/, "/"), here);
    /** @type {string | null} */
    this.token = options.token ?? null;
    /** @type {string | null} */
    this.refreshToken = options.refreshToken ?? null;
    this._fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.sessions = new Sessions(this);
    this.attachments = new Attachments(this);
  }

  // ---- who asks

  /** @param {string} username @param {string} password */
  async login(username, password) {
    this.#keep(await this.#post("login", { username, password }));
    return this.me();
  }

  /** Ends the login everywhere. */
  async logout() {
    await this.call("POST", "logout");
    this.#forget();
  }

  /** @returns {Promise<{ id: string, username: string, role: "user" | "admin",
   *   limits: { used: number, limit: number, reset_in: number } }>} */
  me() {
    return this.call("GET", "me");
  }

  /** @returns {Promise<{ default: string | null, models: { alias: string, provider: string,
   *   model: string, available: boolean }[] }>} */
  models() {
    return this.call("GET", "models");
  }

  // ---- answers

  /**
   * Asks. The question is sent by and by: `answer.accepted` says when the server has it.
   * @param {Question} question
   */
  ask(question) {
    return this.#ask("chat", {
      message: question.message,
      messages: question.messages,
      session_id: question.sessionId,
      ...delivery(question),
    });
  }

  /** Another answer to the same question. @param {string} sessionId @param {string} messageId
   *  @param {Omit<Question, "message" | "messages">} [question] */
  regenerate(sessionId, messageId, question = {}) {
    const path = `api/chat/sessions/${sessionId}/messages/${messageId}/regenerate`;
    return this.#ask(path, delivery(question));
  }

  /** The question in other words, and its answer. @param {string} sessionId
   *  @param {string} messageId @param {string} content
   *  @param {Omit<Question, "message" | "messages">} [question] */
  edit(sessionId, messageId, content, question = {}) {
    const path = `api/chat/sessions/${sessionId}/messages/${messageId}/edit`;
    return this.#ask(path, { content, ...delivery(question) });
  }

  /** Follows an answer that was asked for elsewhere, or before.
   *  @param {string} generationId @param {{ after?: string | null, text?: string }} [from] */
  attach(generationId, { after = null, text = "" } = {}) {
    const answer = new Answer(this, null);
    answer.generationId = generationId;
    answer.position = after;
    answer.text = text;
    this.#follow(answer);
    return answer;
  }

  /** Stops it for everyone. @param {string} generationId */
  abort(generationId) {
    return this.call("POST", `api/generations/${generationId}/abort`);
  }

  /** @param {string} generationId @returns {Promise<any>} */
  generation(generationId) {
    return this.call("GET", `api/generations/${generationId}`);
  }

  /** @param {string} path @param {Record<string, any>} body */
  #ask(path, body) {
    const answer = new Answer(this, body.client_message_id);
    this.#send(answer, path, body);
    return answer;
  }

  /** @param {Answer} answer @param {string} path @param {Record<string, any>} body */
  async #send(answer, path, body) {
    for (let failures = 0; ; failures++) {
      try {
        answer._accept(await this.call("POST", path, { body }));
        break;
      } catch (error) {
        if (!(error instanceof RunnelError) || !error.retryable) {
          answer._fail(/** @type {RunnelError} */ (error));
          return;
        }
        await this.#pause(failures, error);
      }
    }
    await this.#follow(answer);
  }

  /** @param {Answer} answer */
  async #follow(answer) {
    for (let failures = 0; !answer.end && !answer.signal.aborted; failures++) {
      const before = answer.position;
      /** @type {unknown} */
      let fault = null;
      try {
        await this.#read(answer);
      } catch (error) {
        if (answer.signal.aborted) return;
        if (!(error instanceof RunnelError) || !error.retryable) {
          answer._fail(/** @type {RunnelError} */ (error));
          return;
        }
        fault = error;
      }
      if (answer.end || answer.signal.aborted) return;
      if (answer.position !== before) failures = 0;
      answer._turn("connecting");
      await this.#pause(failures, fault);
    }
  }

  /** Reads until the end, or until the stream breaks off. @param {Answer} answer */
  async #read(answer) {
    const response = await this.request("GET", `api/generations/${answer.generationId}/events`, {
      headers: answer.position ? { "Last-Event-ID": answer.position } : {},
      signal: answer.signal,
    });
    if (response.status === 204 || !response.body) {
      throw errorOf("stream_unavailable", "nothing to read", { retryable: true });
    }
    this.#turn("live");
    try {
      for await (const event of framesOf(response.body)) {
        if (event === null) return;
        answer._take(event);
      }
    } catch (error) {
      throw errorOf("network", String(error), { retryable: true, cause: error });
    }
  }

  /** @param {number} failures @param {unknown} error */
  #pause(failures, error) {
    this.#turn("reconnecting");
    const asked = error instanceof RunnelError ? (error.retryAfter ?? 0) * 1000 : 0;
    const most = Math.min(15_000, 500 * 2 ** failures);
    return new Promise((go) => setTimeout(go, Math.max(asked, most * (0.5 + Math.random() / 2))));
  }

  // ---- calls

  /**
   * What a call answers, as JSON; null for 204. Raises RunnelError.
   * @param {string} method
   * @param {string} path below `baseUrl`, without a slash before it
   * @param {{ body?: unknown, query?: Record<string, any>, headers?: Record<string, string>,
   *   signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  async call(method, path, options) {
    const response = await this.request(method, path, options);
    return response.status === 204 ? null : response.json();
  }

  /**
   * The same, as a Response that is good. A token that has expired is renewed in between.
   * @param {string} method
   * @param {string} path
   * @param {{ body?: unknown, query?: Record<string, any>, headers?: Record<string, string>,
   *   signal?: AbortSignal }} [options]
   */
  async request(method, path, options = {}) {
    const token = this.token;
    try {
      return await this.#once(method, path, options);
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || token === null) throw error;
      if (token === this.token) await this.refresh();
      return this.#once(method, path, options);
    }
  }

  /** Renews the token. Raises UnauthorizedError if the login does not hold any more. */
  refresh() {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #refresh() {
    try {
      if (!this.refreshToken) throw errorOf("unauthorized", "The token does not hold any more.");
      this.#keep(await this.#post("refresh", { refresh_token: this.refreshToken }));
    } catch (error) {
      if (error instanceof UnauthorizedError) this.#forget();
      throw error;
    }
  }

  /** @param {string} path @param {unknown} body */
  async #post(path, body) {
    return (await this.#once("POST", path, { body }, false)).json();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ body?: unknown, query?: Record<string, any>, headers?: Record<string, string>,
   *   signal?: AbortSignal }} options
   */
  async #once(method, path, { body, query = {}, headers = {}, signal }, signed = true) {
    const url = new URL(path, this.baseUrl);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    /** @type {RequestInit} */
    const init = { method, headers: { ...headers }, signal, cache: "no-store" };
    const all = /** @type {Record<string, string>} */ (init.headers);
    if (signed && this.token) all.Authorization = `Bearer ${this.token}`;
    if (typeof FormData !== "undefined" && body instanceof FormData) init.body = body;
    else if (body !== undefined) {
      init.body = JSON.stringify(body);
      all["Content-Type"] = "application/json";
    }
    /** @type {Response} */
    let response;
    try {
      response = await this._fetch(url, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw errorOf("network", "The server cannot be reached.", { retryable: true, cause: error });
    }
    if (!response.ok) throw await errorOfResponse(response);
    return response;
  }

  /** @param {{ access_token: string, refresh_token: string }} pair */
  #keep(pair) {
    this.token = pair.access_token;
    this.refreshToken = pair.refresh_token;
    this.dispatchEvent(
      new DetailEvent("tokens", { token: this.token, refreshToken: this.refreshToken }),
    );
  }

  #forget() {
    this.token = this.refreshToken = null;
    this.dispatchEvent(new DetailEvent("signedout", null));
  }

  /** @param {"live" | "reconnecting" | "offline"} state */
  #turn(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new DetailEvent("state", state));
  }
}

/** @param {Omit<Question, "message" | "messages">} question */
function delivery(question) {
  return {
    model: question.model,
    params: question.params,
    attachments: question.attachments,
    client_message_id: question.clientMessageId ?? newId(),
    // Every answer is asked for this way: its id is known before its first token, so that it can
    // be stopped at once, and whatever breaks, there is one way to come back.
    background: true,
  };
}

/** `crypto.randomUUID` is there in secure contexts only. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ------------------------------------------------------------------ sessions and files

/** Shapes are those of the API: see /docs. */
class Sessions {
  #client;
  /** @param {RunnelClient} client */
  constructor(client) {
    this.#client = client;
  }
  /** @param {{ limit?: number, cursor?: string, status?: string, project_id?: string, q?: string }} [query]
   *  @returns {Promise<{ sessions: any[], next_cursor: string | null }>} */
  list(query) {
    return this.#client.call("GET", "api/chat/sessions", { query });
  }
  /** @param {Record<string, unknown>} [body] @returns {Promise<any>} */
  create(body = {}) {
    return this.#client.call("POST", "api/chat/sessions", { body });
  }
  /** @param {string} id @returns {Promise<any>} */
  get(id) {
    return this.#client.call("GET", `api/chat/sessions/${id}`);
  }
  /** Title, settings, `status: "active"`. @param {string} id @param {Record<string, unknown>} changes
   *  @returns {Promise<any>} */
  update(id, changes) {
    return this.#client.call("PATCH", `api/chat/sessions/${id}`, { body: changes });
  }
  /** Aborts what runs; the history stays. @param {string} id */
  close(id) {
    return this.#client.call("DELETE", `api/chat/sessions/${id}`);
  }
  /** Gone for good. @param {string} id */
  purge(id) {
    return this.#client.call("DELETE", `api/chat/sessions/${id}`, { query: { purge: true } });
  }
  /** @param {string} id @param {{ limit?: number, cursor?: string, tree?: boolean }} [query]
   *  @returns {Promise<{ messages: any[], next_cursor: string | null }>} */
  messages(id, query) {
    return this.#client.call("GET", `api/chat/sessions/${id}/messages`, { query });
  }
  /** Makes the branch of that leaf the active one. @param {string} id @param {string} messageId */
  branch(id, messageId) {
    const body = { message_id: messageId };
    return this.#client.call("PUT", `api/chat/sessions/${id}/branch`, { body });
  }
  /** @param {string} id @param {string} messageId
   *  @param {{ helpful?: boolean | null, rating?: number | null }} reaction */
  react(id, messageId, reaction) {
    const path = `api/chat/sessions/${id}/messages/${messageId}/reaction`;
    return this.#client.call("PUT", path, { body: reaction });
  }
  /** A download. Without `sessionId` everything of the user's.
   *  @param {{ sessionId?: string, format?: "json" | "jsonl" | "markdown" | "text" }} [what] */
  export({ sessionId, format = "json" } = {}) {
    const body = { session_id: sessionId, format };
    return this.#client.request("POST", "api/chat/export", { body });
  }
}

class Attachments {
  #client;
  /** @param {RunnelClient} client */
  constructor(client) {
    this.#client = client;
  }
  /** @param {Blob} file @param {string} [name] @returns {Promise<any>} */
  upload(file, name) {
    const body = new FormData();
    body.set("file", file, name ?? /** @type {File} */ (file).name ?? "file");
    return this.#client.call("POST", "api/attachments", { body });
  }
  /** What is in it. @param {string} id */
  async blob(id) {
    return (await this.#client.request("GET", `api/attachments/${id}`)).blob();
  }
  /** @param {string} id */
  delete(id) {
    return this.#client.call("DELETE", `api/attachments/${id}`);
  }
}
