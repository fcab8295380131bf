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
  const said = await response.json().catch(() => null);
  // Whatever stands between may answer in its own way.
  const problem = said !== null && typeof said === "object" ? said : {};
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

/**
 * Whether asking again a little later may help, for what was refused.
 * @param {unknown} error
 * @returns {error is RunnelError}
 */
function passes(error) {
  return error instanceof RunnelError && PASSING.has(error.code);
}
const PASSING = new Set([
  "network",
  "bad_gateway",
  "internal",
  "overloaded",
  "shutting_down",
  "store_unavailable",
  "stream_unavailable",
]);

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
 * The events of an SSE body in the dialect `events`; `null` for `[DONE]`, `undefined` for a sign of
 * life. (https://html.spec.whatwg.org/multipage/server-sent-events.html; some proxies end lines in
 * their own way.)
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<AnswerEvent | null | undefined>}
 */
export async function* eventsOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  /** @type {string[]} */
  let data = [];
  let [name, id] = ["", ""];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield undefined;
      const text = rest + decoder.decode(value, { stream: true });
      // A CR at the end may be half of a CRLF.
      const whole = text.endsWith("\r") ? text.slice(0, -1) : text;
      const lines = whole.split(/\r\n|\n|\r/);
      rest = (lines.pop() ?? "") + text.slice(whole.length);
      for (const line of lines) {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const content =
          colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
        if (field === "data") data.push(content);
        else if (field === "event") name = content;
        else if (field === "id") id = content;
        else if (line === "") {
          if (data.length > 0) yield eventOf(name, id, data.join("\n"));
          [name, data] = ["", []];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** @param {string} type @param {string} position @param {string} data @returns {AnswerEvent | null} */
function eventOf(type, position, data) {
  return data === "[DONE]" ? null : { ...JSON.parse(data), type, position };
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
 * their types, and `status` whenever that changes. Whoever begins to iterate later is first told
 * a `reset` with what there was.
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
  /** @type {Set<(event: AnswerEvent | null) => void>} */ #readers = new Set();
  #left = new AbortController();

  /** @param {RunnelClient} client @param {Question | null} [question] */
  constructor(client, question = null) {
    super();
    this.#client = client;
    /** What was asked; null for an answer that was asked for elsewhere. */
    this.question = question;
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

  get clientMessageId() {
    return this.question?.clientMessageId ?? null;
  }

  /** Aborted when nobody here follows it any more. The answer itself goes on. */
  get signal() {
    return this.#left.signal;
  }

  /** Stops following it; the answer itself goes on, and a question that waits is still sent. */
  detach() {
    this.#left.abort();
    this.#tell(null);
  }

  /** Takes back a question that the server does not have yet. True if it never will. */
  cancel() {
    if (!this.#client._discard(this)) return false;
    this._fail(errorOf("cancelled", "The question was taken back."));
    return true;
  }

  /** Stops it for everyone; what it has said so far is kept. */
  async abort() {
    if (this.cancel()) return null;
    await this.accepted;
    return this.#client.abort(/** @type {string} */ (this.generationId));
  }

  async *[Symbol.asyncIterator]() {
    /** @type {(AnswerEvent | null)[]} */
    const events = [];
    let wake = () => {};
    const reader = (/** @type {AnswerEvent | null} */ event) => {
      events.push(event);
      wake();
    };
    if (this.position !== null && this.text !== "") {
      const { position, text } = this;
      events.push({ type: "reset", position, text });
    }
    if (this.end) events.push(this.end);
    if (this.end || this.error || this.signal.aborted) events.push(null);
    this.#readers.add(reader);
    try {
      for (;;) {
        const event = events.shift();
        if (event) yield event;
        else if (event === null) break;
        else await new Promise((resolve) => (wake = () => resolve(undefined)));
      }
    } finally {
      this.#readers.delete(reader);
    }
    if (this.error) throw this.error;
  }

  /** @internal @param {AnswerStatus} status */
  _turn(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new DetailEvent("status", status));
  }

  /** @internal @param {Record<string, any>} accepted */
  _accept(accepted) {
    this.generationId = accepted.generation_id;
    this.sessionId = accepted.session_id;
    this.messageId = accepted.message_id;
    this.userMessageId = accepted.user_message_id ?? null;
    this.status = "connecting";
    this.dispatchEvent(new DetailEvent("status", this.status));
  }

  /** @internal What was read before is left out. @param {AnswerEvent} event */
  _take(event) {
    if (this.end || this.error) return;
    // A reset stands wherever the server says: the position it was asked for may be of nowhere.
    if (event.type !== "reset" && !isBehind(event.position, this.position)) return;
    this.position = event.position;
    if (event.type === "end" || event.type === "aborted" || event.type === "failed") {
      this._end(event);
      return;
    }
    if (event.type === "start") {
      this.sessionId = event.session_id;
      this.messageId = event.message_id;
      this.userMessageId = event.user_message_id;
    } else if (event.type === "token") this.text += event.text;
    else if (event.type === "reset") this.text = event.text;
    this.#tell(event);
    this.dispatchEvent(new DetailEvent(event.type, event));
    this._turn("running");
  }

  /** @internal @param {EndEvent | AbortedEvent | FailedEvent} event */
  _end(event) {
    this.end = event;
    if (event.type === "failed") {
      this.error = errorOf(event.code, event.message, { retryable: event.retryable });
    }
    this.position = event.position;
    this.#tell(event);
    this.dispatchEvent(new DetailEvent(event.type, event));
    this._turn(event.type === "end" ? "completed" : event.type);
    this.#tell(null);
  }

  /** @internal @param {RunnelError} error */
  _fail(error) {
    this.error = error;
    this._turn("failed");
    this.#tell(null);
  }

  /** @param {AnswerEvent | null} event null: there is no more to come */
  #tell(event) {
    for (const reader of this.#readers) reader(event);
  }
}

// ------------------------------------------------------------------ the client

/**
 * How an answer is followed: by a streamed body, by an EventSource, or by asking again and again.
 * @typedef {"fetch" | "eventsource" | "poll"} Transport
 */

/**
 * Gives a token; `expired` says that the last one does not hold any more.
 * @typedef {(what: { expired: boolean }) => string | Promise<string>} TokenSource
 */

/**
 * @typedef {object} ClientOptions
 * @property {string | URL} [baseUrl] of the server; the page's own folder without it
 * @property {string | TokenSource} [token] an access token, an API key, or who gives one
 * @property {string} [refreshToken] with it a token that has expired is renewed
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">} [storage] as
 *   `localStorage`: tokens, and questions that were not sent yet, outlive the page, and tabs share
 * @property {Transport[]} [transports] the ways to follow an answer, the best first
 * @property {number} [silence] milliseconds without a sign of life after which a stream counts as
 *   dead: the server gives one each 15 s
 * @property {number} [firstSign] milliseconds without a first sign of life after which a transport
 *   counts as held up by something on the way
 * @property {number} [pauseHiddenAfter] milliseconds after which a hidden tab reads no more, until
 *   it is shown again; Infinity for never
 * @property {number} [backoff] milliseconds of the first pause before trying again; they double
 * @property {typeof globalThis.fetch} [fetch]
 * @property {any} [EventSource]
 * @property {any} [WebSocket] a class like the browsers' one, for Node 20
 */

/**
 * A question that the server does not have yet. `behind`: it goes into the session that this
 * other question, which was none either then, began.
 * @typedef {object} Entry
 * @property {Answer} answer
 * @property {string} path
 * @property {Record<string, any>} body
 * @property {number} at when it was asked
 * @property {string | null} behind a `client_message_id`
 * @property {string} subject whose question it is
 * @property {boolean} waited
 */

const TOKENS = "runnel.tokens";
const QUEUE = "runnel.queue.";
const LONGEST_PAUSE = 15_000;
/** How long before its end a token is renewed, and how long another tab's renewal is waited for. */
const AHEAD = 30_000;
const OTHER_TAB = 5_000;
const POLL_SECONDS = 25;

/**
 * A server, and who asks it. Tells `tokens` when it has new ones, `signedout` when the login does
 * not hold any more, `state` (`live`, `reconnecting`, `offline`), and `queue` when a question has
 * to wait here, or waits no more.
 */
export class RunnelClient extends EventTarget {
  /** Whether the server answers: all is well, a stream broke off, or it cannot be reached.
   *  @type {"live" | "reconnecting" | "offline"} */
  state = "live";

  /** @type {ClientOptions} */ #options;
  /** @type {string | null} */ #token = null;
  /** @type {string | null} */ #refreshToken = null;
  /** @type {number | null} milliseconds of the epoch */ #expiresAt = null;
  /** @type {Promise<void> | null} */ #refreshing = null;
  /** @type {Transport[]} those that have not shown that they do not work here */ #transports;
  /** @type {Entry[]} */ #entries = [];
  /** @type {Map<string, Promise<unknown>>} the end of the newest question of each session */ #lanes =
    new Map();
  /** @type {Map<string, string>} a question's session by its `client_message_id` */ #begun =
    new Map();
  /** @type {Set<() => void>} whoever waits for a better moment */ #waiting = new Set();
  /** @type {Set<AbortController>} what is being read */ #reading = new Set();
  #hidden = false;
  #probing = false;

  /** @param {ClientOptions} [options] */
  constructor(options = {}) {
    super();
    this.#options = options;
    const here = typeof location === "undefined" ? undefined : location.href;
    this.baseUrl = new URL(String(options.baseUrl ?? "./").replace(/\/*$/, "/"), here);
    this.#transports = [...(options.transports ?? ["fetch", "eventsource", "poll"])];
    this.sessions = new Sessions(this);
    this.attachments = new Attachments(this);
    this.keys = new Keys(this);
    if (typeof options.token === "string") this.#token = options.token;
    this.#refreshToken = options.refreshToken ?? null;
    if (this.#token === null) this.#adopt();
    this.#watch();
    this.#restore();
  }

  // ---- who asks

  /** The access token, or API key, that calls are made with. */
  get token() {
    return this.#token;
  }

  /** Whether nothing is read, for the tab is hidden. */
  get paused() {
    return this.#hidden;
  }

  /** Whether there is anything to sign calls with. Whether it holds, a call says. */
  get signedIn() {
    return this.#token !== null || typeof this.#options.token === "function";
  }

  /** @param {string} username @param {string} password */
  async login(username, password) {
    const response = await this.#once("POST", "login", { body: { username, password } }, false);
    this.#keep(await this.#json(response));
    this.#restore();
    return this.me();
  }

  /** A new account, where there may be one. Raises RunnelError `forbidden` where not.
   *  @param {string} username @param {string} password */
  async register(username, password) {
    await this.#once("POST", "register", { body: { username, password } }, false);
    return this.login(username, password);
  }

  /** Ends the login everywhere, and forgets the questions that were not sent. */
  async logout() {
    try {
      await this.call("POST", "logout");
    } finally {
      for (const { answer } of [...this.#entries]) answer.cancel();
      this.#forget();
    }
  }

  /** @returns {Promise<{ id: string, username: string, role: "user" | "admin",
   *   limits: { used: number, limit: number, reset_in: number } }>} */
  me() {
    return this.call("GET", "me");
  }

  /** Ends all logins of the user's, this one too. @param {string} current @param {string} next */
  async changePassword(current, next) {
    await this.call("POST", "me/password", {
      body: { current_password: current, new_password: next },
    });
  }

  /** Days are as 2026-01-31. @param {{ from?: string, to?: string }} [query] @returns {Promise<any>} */
  usage(query) {
    return this.call("GET", "api/usage", { query });
  }

  /** @returns {Promise<{ default: string | null, models: { alias: string, provider: string,
   *   model: string, available: boolean }[] }>} */
  models() {
    return this.call("GET", "models");
  }

  // ---- answers

  /**
   * Asks. Whatever is in the way, the question waits here until the server has it, and is asked
   * once; those of one session one behind the other. `sessionId` may be the answer to a question
   * that began a session and is still waiting.
   * @param {Omit<Question, "sessionId"> & { sessionId?: string | Answer | null }} question
   */
  ask(question) {
    const { sessionId } = question;
    const first = sessionId instanceof Answer ? sessionId : null;
    const known = first ? first.sessionId : /** @type {string | null | undefined} */ (sessionId);
    return this.#enqueue(
      "chat",
      { message: question.message, messages: question.messages },
      { ...question, sessionId: known ?? undefined },
      known ? null : (first?.clientMessageId ?? null),
    );
  }

  /** Another answer to the same question. @param {string} sessionId @param {string} messageId
   *  @param {Omit<Question, "message" | "messages" | "sessionId">} [question] */
  regenerate(sessionId, messageId, question = {}) {
    const path = `${sessionPath(sessionId)}/messages/${messageId}/regenerate`;
    return this.#enqueue(path, {}, { ...question, sessionId });
  }

  /** The question in other words, and its answer. @param {string} sessionId
   *  @param {string} messageId @param {string} content
   *  @param {Omit<Question, "message" | "messages" | "sessionId">} [question] */
  edit(sessionId, messageId, content, question = {}) {
    const path = `${sessionPath(sessionId)}/messages/${messageId}/edit`;
    return this.#enqueue(path, { content }, { ...question, message: content, sessionId });
  }

  /** Follows an answer that was asked for elsewhere, or before: from its beginning, or from behind
   *  a position, with the text there was up to it.
   *  @param {string} generationId @param {{ after?: string | null, text?: string }} [from] */
  attach(generationId, { after = null, text = "" } = {}) {
    const answer = new Answer(this);
    answer.generationId = generationId;
    answer.position = after;
    answer.text = text;
    this.#follow(answer);
    return answer;
  }

  /** Stops it for everyone. @param {string} generationId @returns {Promise<any>} */
  abort(generationId) {
    return this.call("POST", `api/generations/${generationId}/abort`);
  }

  /** @param {string} generationId @returns {Promise<any>} */
  generation(generationId) {
    return this.call("GET", `api/generations/${generationId}`);
  }

  /** Own ones, newest first. @param {{ status?: string, limit?: number, cursor?: string }} [query]
   *  @returns {Promise<{ generations: any[], next_cursor: string | null }>} */
  generations(query) {
    return this.call("GET", "api/generations", { query });
  }

  /** Leave to read one answer without a header. @param {string} generationId
   *  @returns {Promise<{ ticket: string, expires_in: number }>} */
  ticket(generationId) {
    return this.call("POST", "api/tickets", { body: { generation_id: generationId } });
  }

  /** The channel of a session. @param {string} sessionId @param {SocketOptions} [options] */
  socket(sessionId, options) {
    return new RunnelSocket(this, sessionId, options);
  }

  // ---- questions that wait

  /** The answers to questions that the server does not have yet, the oldest first. */
  get queue() {
    return this.#entries.map(({ answer }) => answer);
  }

  /**
   * @param {string} path @param {Record<string, any>} asked @param {Question} question
   * @param {string | null} [behind]
   */
  #enqueue(path, asked, question, behind = null) {
    const clientMessageId = question.clientMessageId ?? newId();
    const answer = new Answer(this, { ...question, clientMessageId });
    const body = {
      ...asked,
      // In the path of what belongs to a message.
      session_id: path === "chat" ? question.sessionId : undefined,
      model: question.model,
      params: question.params,
      attachments: question.attachments,
      client_message_id: clientMessageId,
      // Every answer is asked for this way: its id is known before its first token, so that it can
      // be stopped at once, and whatever breaks, there is one way to come back.
      background: true,
    };
    const subject = subjectOf(this.#token);
    this.#add({ answer, path, body, at: Date.now(), behind, subject, waited: false });
    return answer;
  }

  /** @param {Entry} entry */
  #add(entry) {
    this.#entries.push(entry);
    const { question, clientMessageId } = entry.answer;
    const lane = question?.sessionId ?? entry.behind ?? /** @type {string} */ (clientMessageId);
    const before = this.#lanes.get(lane);
    const ended = before ? before.then(() => this.#send(entry)) : this.#send(entry);
    this.#lanes.set(lane, ended);
    ended.finally(() => {
      if (this.#lanes.get(lane) === ended) this.#lanes.delete(lane);
    });
    if (before || this.state === "offline") this.#delay(entry);
  }

  /** It is told, and kept, that a question waits. @param {Entry} entry */
  #delay(entry) {
    if (!this.#entries.includes(entry)) return;
    entry.waited = true;
    entry.answer._turn("queued");
    this.#store(entry);
    this.dispatchEvent(new DetailEvent("queue", this.queue));
  }

  /** @internal True if the server does not have it, and never will. @param {Answer} answer */
  _discard(answer) {
    const entry = this.#entries.find((each) => each.answer === answer);
    if (!entry) return false;
    this.#remove(entry);
    return true;
  }

  /** @param {Entry} entry */
  #remove(entry) {
    this.#entries = this.#entries.filter((each) => each !== entry);
    this.#options.storage?.removeItem(this.#place(entry));
    if (entry.waited) this.dispatchEvent(new DetailEvent("queue", this.queue));
  }

  /** Returns at its end. @param {Entry} entry */
  async #send(entry) {
    const { answer, path, body } = entry;
    for (let failures = 0; this.#entries.includes(entry); failures++) {
      if (this.#token !== null && subjectOf(this.#token) !== entry.subject) {
        // Somebody else has signed in meanwhile.
        this.#delay(entry);
        await this.#moment(Infinity);
        continue;
      }
      if (entry.behind && !body.session_id) body.session_id = this.#begun.get(entry.behind);
      try {
        const accepted = await this.call("POST", path, { body });
        if (!this.#entries.includes(entry)) {
          // It was taken back while it was on its way.
          await this.abort(accepted.generation_id).catch(() => {});
          return;
        }
        this.#begun.set(body.client_message_id, accepted.session_id);
        answer._accept(accepted);
        this.#remove(entry);
      } catch (error) {
        if (!this.#entries.includes(entry)) return;
        const busy = error instanceof BusyError && entry.waited;
        if (!busy && !passes(error) && !(error instanceof UnauthorizedError && entry.waited)) {
          this.#remove(entry);
          answer._fail(asError(error));
          return;
        }
        this.#delay(entry);
        await this.#pause(failures, error);
      }
    }
    if (answer.generationId) await this.#follow(answer);
  }

  /** A question is kept for who asked it. @param {Entry} entry */
  #place({ subject, body }) {
    return `${QUEUE}${subject}.${body.client_message_id}`;
  }

  /** @param {Entry} entry */
  #store(entry) {
    const { answer, path, body, at, behind } = entry;
    const kept = JSON.stringify({ path, body, at, behind, question: answer.question });
    try {
      this.#options.storage?.setItem(this.#place(entry), kept);
    } catch {
      // It is full, or not allowed: the question waits in this page only.
    }
  }

  /** What an earlier page has left unsent. */
  #restore() {
    const { storage } = this.#options;
    if (!storage || this.#token === null) return;
    const own = `${QUEUE}${subjectOf(this.#token)}.`;
    const found = [];
    for (let index = 0; index < storage.length; index++) {
      const key = storage.key(index);
      const kept = key?.startsWith(own) ? storage.getItem(key) : null;
      if (kept) found.push(JSON.parse(kept));
    }
    found.sort((one, other) => one.at - other.at);
    for (const { path, body, at, behind, question } of found) {
      const id = body.client_message_id;
      if (this.#entries.some((entry) => entry.body.client_message_id === id)) continue;
      const answer = new Answer(this, question);
      const subject = subjectOf(this.#token);
      const entry = { answer, path, body, at, behind, subject, waited: true };
      answer.status = "queued";
      this.#add(entry);
    }
    if (found.length > 0) this.dispatchEvent(new DetailEvent("queue", this.queue));
  }

  // ---- following

  /** Returns at its end. @param {Answer} answer */
  async #follow(answer) {
    for (let failures = 0; !answer.end && !answer.error && !answer.signal.aborted;) {
      const before = answer.position;
      const attempt = new AbortController();
      const leave = () => attempt.abort();
      answer.signal.addEventListener("abort", leave);
      this.#reading.add(attempt);
      /** @type {unknown} */
      let fault = null;
      try {
        if (this.#hidden) await this.#shown(answer.signal);
        await this.#read(answer, attempt);
      } catch (error) {
        fault = error;
      } finally {
        attempt.abort();
        this.#reading.delete(attempt);
        answer.signal.removeEventListener("abort", leave);
      }
      if (answer.end || answer.error || answer.signal.aborted) return;
      if (this.#hidden) continue;
      if (fault && !passes(fault) && !(fault instanceof RateLimitedError)) {
        answer._fail(asError(fault));
        return;
      }
      failures = answer.position === before ? failures + 1 : 0;
      answer._turn("connecting");
      this.#turn("reconnecting");
      await this.#pause(failures, fault, answer.signal);
    }
  }

  /** Reads until the end, or until it breaks off. @param {Answer} answer
   *  @param {AbortController} attempt */
  async #read(answer, attempt) {
    const [transport] = this.#transports;
    try {
      if (transport === "fetch") await this.#readStream(answer, attempt);
      else if (transport === "eventsource") await this.#readSource(answer, attempt);
      else await this.#readPages(answer, attempt);
    } catch (error) {
      if (!(error instanceof HeldUpError)) throw error;
      // Never the last one: there is nothing below it.
      if (this.#transports[0] === transport && this.#transports.length > 1)
        this.#transports.shift();
    }
  }

  /** @param {Answer} answer @param {AbortController} attempt */
  async #readStream(answer, attempt) {
    const watch = new Watch(
      this.#options.firstSign ?? 20_000,
      this.#options.silence ?? 40_000,
      attempt,
    );
    try {
      const response = await this.request("GET", `api/generations/${answer.generationId}/events`, {
        headers: {
          Accept: "text/event-stream",
          ...(answer.position ? { "Last-Event-ID": answer.position } : {}),
        },
        signal: attempt.signal,
      });
      if (response.status === 204) return await this.#readEnd(answer);
      if (!response.body) throw new HeldUpError();
      for await (const event of eventsOf(response.body)) {
        watch.heard();
        this.#turn("live");
        if (event === null) break;
        if (event) answer._take(event);
      }
      return undefined;
    } catch (error) {
      if (watch.heldUp) {
        // Unless it is the server that does not answer: then this raises.
        await this.#page(answer, 0, new AbortController());
        throw new HeldUpError();
      }
      if (error instanceof RunnelError || error instanceof HeldUpError) throw error;
      throw brokenOff(error);
    } finally {
      watch.end();
    }
  }

  /** @param {Answer} answer @param {AbortController} attempt */
  async #readSource(answer, attempt) {
    const Source = this.#options.EventSource ?? globalThis.EventSource;
    if (!Source) throw new HeldUpError();
    const { ticket } = await this.ticket(/** @type {string} */ (answer.generationId));
    const url = this.url(`api/generations/${answer.generationId}/events`, {
      ticket,
      after: answer.position,
    });
    const source = new Source(url.href);
    // It shows no heartbeats: whether silence is the model's own, a plain call tells.
    const asking = setInterval(async () => {
      const before = answer.position;
      const page = await this.#page(answer, 0, attempt).catch(() => null);
      const missed = page?.events.length > 0 && answer.position === before;
      if (missed && !attempt.signal.aborted) stop(new HeldUpError());
    }, this.#options.firstSign ?? 20_000);
    /** @type {(error?: unknown) => void} */
    let stop = () => {};
    try {
      await new Promise((resolve, reject) => {
        stop = (error) => (error ? reject(error) : resolve(undefined));
        attempt.signal.addEventListener("abort", () => stop());
        for (const type of ["start", "token", "reset", "end", "aborted", "failed"]) {
          source.addEventListener(type, (/** @type {MessageEvent} */ { data, lastEventId }) => {
            this.#turn("live");
            answer._take(/** @type {AnswerEvent} */ (eventOf(type, lastEventId, data)));
            if (answer.end) stop();
          });
        }
        // It would come back by itself, but not from a 503, nor with a ticket that has run out.
        source.onerror = () => stop();
      });
    } finally {
      clearInterval(asking);
    }
    // Closed for good: there may be nothing more to read.
    const over = source.readyState === 2;
    source.close();
    if (over && !answer.end && !attempt.signal.aborted) await this.#readEnd(answer);
  }

  /** @param {Answer} answer @param {AbortController} attempt */
  async #readPages(answer, attempt) {
    while (!answer.end) {
      const page = await this.#page(answer, POLL_SECONDS, attempt);
      this.#turn("live");
      for (const event of page.events) answer._take(event);
      if (page.done) {
        if (!answer.end) await this.#readEnd(answer);
        return;
      }
    }
  }

  /** @param {Answer} answer @param {number} wait @param {AbortController} attempt */
  async #page(answer, wait, attempt) {
    const deadline = setTimeout(() => attempt.abort(), (wait + 15) * 1000);
    try {
      return await this.call("GET", `api/generations/${answer.generationId}/events`, {
        headers: { Accept: "application/json" },
        query: { after: answer.position, wait },
        signal: attempt.signal,
      });
    } catch (error) {
      throw error instanceof RunnelError ? error : brokenOff(error);
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Where a stream has nothing to tell, the answer itself says whether it has ended. @param {Answer} answer */
  async #readEnd(answer) {
    const known = await this.generation(/** @type {string} */ (answer.generationId));
    const { status, text, position } = known;
    if (status === "queued" || status === "running" || position === null) return;
    if (text !== answer.text) {
      // What was missed stands before the end.
      const [epoch, offset] = position.split("-").map(Number);
      answer._take({ type: "reset", position: `${epoch}-${offset - 1}`, text });
    }
    answer._end(endOf(known));
  }

  // ---- better moments

  #watch() {
    if (typeof window === "undefined") return;
    window.addEventListener("online", () => this.#wake());
    window.addEventListener("offline", () => this.#turn("offline"));
    window.addEventListener("storage", ({ key }) => {
      if (key !== TOKENS && key !== null) return;
      const before = this.#token;
      this.#adopt();
      if (before !== null && this.#token === null)
        this.dispatchEvent(new DetailEvent("signedout", null));
    });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const after = this.#options.pauseHiddenAfter ?? 30_000;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (document.visibilityState === "visible") {
        this.#hidden = false;
        this.#wake();
      } else if (after !== Infinity) {
        timer = setTimeout(() => {
          this.#hidden = true;
          for (const attempt of this.#reading) attempt.abort();
        }, after);
      }
    });
  }

  #wake() {
    for (const wake of this.#waiting) wake();
  }

  /** @param {AbortSignal} signal */
  async #shown(signal) {
    while (this.#hidden && !signal.aborted) await this.#moment(Infinity, signal);
  }

  /**
   * Before trying again: longer and longer, and never all clients at once.
   * @internal @param {number} failures @param {unknown} [error] @param {AbortSignal} [signal]
   */
  #pause(failures, error = null, signal) {
    const asked = error instanceof RunnelError ? (error.retryAfter ?? 0) * 1000 : 0;
    const first = this.#options.backoff ?? 500;
    const most = Math.min(LONGEST_PAUSE, first * 2 ** Math.min(failures, 10));
    return this.#moment(asked + most * Math.random(), signal);
  }

  /** @internal @param {number} failures */
  _pause(failures) {
    return this.#pause(failures);
  }

  /** So long, or until there is reason to try at once. @param {number} milliseconds
   *  @param {AbortSignal} [signal] */
  #moment(milliseconds, signal) {
    return new Promise((resolve) => {
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let timer;
      const go = () => {
        clearTimeout(timer);
        this.#waiting.delete(go);
        signal?.removeEventListener("abort", go);
        resolve(undefined);
      };
      if (milliseconds !== Infinity) timer = setTimeout(go, milliseconds);
      this.#waiting.add(go);
      signal?.addEventListener("abort", go);
    });
  }

  /** @param {"live" | "reconnecting" | "offline"} state */
  #turn(state) {
    if (this.state === state) return;
    // What cannot be reached is not better for a stream that cannot be opened.
    if (this.state === "offline" && state === "reconnecting") return;
    this.state = state;
    this.dispatchEvent(new DetailEvent("state", state));
    if (state === "offline") this.#probe();
  }

  /** Looks whether the server is back, and has whoever waits try at once then. */
  async #probe() {
    if (this.#probing) return;
    this.#probing = true;
    for (let failures = 0; this.state === "offline"; failures++) {
      await this.#pause(failures);
      await this.#once("GET", "healthz", {}, false).catch(() => {});
    }
    this.#probing = false;
    this.#wake();
  }

  // ---- calls

  /** @param {string} path below `baseUrl` @param {Record<string, any>} [query] */
  url(path, query = {}) {
    const url = new URL(path, this.baseUrl);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    return url;
  }

  /**
   * What a call answers, as JSON; null for 204. Raises RunnelError.
   * @param {string} method
   * @param {string} path below `baseUrl`, without a slash before it
   * @param {CallOptions} [options]
   * @returns {Promise<any>}
   */
  async call(method, path, options) {
    return this.#json(await this.request(method, path, options));
  }

  /**
   * The same, as a Response that is good. A token that has expired is renewed in between.
   * @param {string} method
   * @param {string} path
   * @param {CallOptions} [options]
   */
  async request(method, path, options = {}) {
    if (this.#refreshToken && this.#expiresAt !== null && Date.now() > this.#expiresAt - AHEAD) {
      await this.refresh().catch((error) => {
        if (error instanceof UnauthorizedError) throw error;
        // Else what there is may still do.
      });
    }
    await this.#ensure();
    const token = this.#token;
    try {
      return await this.#once(method, path, options);
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || token === null) throw error;
      if (token === this.#token) await this.refresh();
      return this.#once(method, path, options);
    }
  }

  /** Renews the token. Raises UnauthorizedError if the login does not hold any more. */
  refresh() {
    this.#refreshing ??= this.#alone(this.#token).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #ensure() {
    const { token } = this.#options;
    if (this.#token === null && typeof token === "function") {
      this.#token = await token({ expired: false });
    }
  }

  /** One tab at a time, where the browser can see to that. @param {string | null} stale */
  async #alone(stale) {
    const locks = this.#options.storage && globalThis.navigator?.locks;
    if (locks) await locks.request("runnel.refresh", () => this.#renew(stale));
    else await this.#renew(stale);
  }

  /** @param {string | null} stale */
  async #renew(stale) {
    const { token } = this.#options;
    if (typeof token === "function") {
      this.#token = await token({ expired: true });
      return;
    }
    this.#adopt();
    if (this.#token !== stale && this.#token !== null) return; // another tab was faster
    try {
      if (!this.#refreshToken) throw errorOf("unauthorized", "The login does not hold any more.");
      const body = { refresh_token: this.#refreshToken };
      this.#keep(await this.#json(await this.#once("POST", "refresh", { body }, false)));
    } catch (error) {
      if (error instanceof RunnelError && error.code === "conflict") {
        await this.#otherTabs(stale);
      } else {
        if (error instanceof UnauthorizedError) this.#forget();
        throw error;
      }
    }
  }

  /** Another tab is renewing the same login: its pair is the one to use. @param {string | null} stale */
  async #otherTabs(stale) {
    const end = Date.now() + OTHER_TAB;
    while (Date.now() < end) {
      this.#adopt();
      if (this.#token !== stale && this.#token !== null) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw errorOf("network", "The login is being renewed elsewhere.", { retryable: true });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {CallOptions} options
   */
  async #once(method, path, { body, query, headers = {}, signal }, signed = true) {
    /** @type {Record<string, string>} */
    const all = { ...headers };
    /** @type {RequestInit} */
    const init = { method, headers: all, signal, cache: "no-store", credentials: "omit" };
    if (signed && this.#token) all.Authorization = `Bearer ${this.#token}`;
    if (typeof FormData !== "undefined" && body instanceof FormData) init.body = body;
    else if (body !== undefined) {
      init.body = JSON.stringify(body);
      all["Content-Type"] = "application/json";
    }
    const send = this.#options.fetch ?? globalThis.fetch;
    /** @type {Response} */
    let response;
    try {
      response = await send(this.url(path, query), init);
    } catch (error) {
      if (signal?.aborted) throw error;
      this.#turn("offline");
      throw errorOf("network", "The server cannot be reached.", { retryable: true, cause: error });
    }
    if (this.state === "offline") this.#turn("live");
    if (!response.ok) throw await errorOfResponse(response);
    return response;
  }

  /** @param {Response} response @returns {Promise<any>} */
  async #json(response) {
    if (response.status === 204) return null;
    try {
      return await response.json();
    } catch (error) {
      throw brokenOff(error);
    }
  }

  // ---- tokens

  /** @param {{ access_token: string, refresh_token: string, expires_in: number }} pair */
  #keep(pair) {
    this.#token = pair.access_token;
    this.#refreshToken = pair.refresh_token;
    this.#expiresAt = Date.now() + pair.expires_in * 1000;
    const tokens = { token: this.#token, refreshToken: this.#refreshToken, at: this.#expiresAt };
    try {
      this.#options.storage?.setItem(TOKENS, JSON.stringify(tokens));
    } catch {
      // Then the login ends with this page.
    }
    this.dispatchEvent(new DetailEvent("tokens", tokens));
    this.#wake();
  }

  /** What is kept is taken over. */
  #adopt() {
    const { storage } = this.#options;
    if (!storage) return;
    const kept = JSON.parse(storage.getItem(TOKENS) ?? "null");
    this.#token = kept?.token ?? null;
    this.#refreshToken = kept?.refreshToken ?? null;
    this.#expiresAt = kept?.at ?? null;
  }

  #forget() {
    const was = this.#token;
    this.#token = this.#refreshToken = this.#expiresAt = null;
    this.#options.storage?.removeItem(TOKENS);
    if (was !== null) this.dispatchEvent(new DetailEvent("signedout", null));
  }

  /** @internal The token, if there is one or one is given. */
  async _signed() {
    await this.#ensure();
    return this.#token;
  }

  /** @internal */
  get _options() {
    return this.#options;
  }
}

/**
 * @typedef {object} CallOptions
 * @property {unknown} [body] JSON, or FormData
 * @property {Record<string, any>} [query]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 */

/** Something on the way holds a stream up, or it cannot be had here at all. */
class HeldUpError extends Error {}

/** @param {unknown} cause */
function brokenOff(cause) {
  return errorOf("network", "The connection broke off.", { retryable: true, cause });
}

/** @param {unknown} error @returns {RunnelError} */
function asError(error) {
  return error instanceof RunnelError ? error : errorOf("client", String(error), { cause: error });
}

/** Ends a read that nothing is heard of. */
class Watch {
  heldUp = false;
  #heard = false;
  /** @type {ReturnType<typeof setTimeout>} */ #timer;
  #silence;
  #attempt;
  #last = Date.now();

  /** @param {number} first @param {number} silence @param {AbortController} attempt */
  constructor(first, silence, attempt) {
    this.#silence = silence;
    this.#attempt = attempt;
    this.#timer = setTimeout(() => {
      this.heldUp = true;
      attempt.abort();
    }, first);
  }

  heard() {
    this.#last = Date.now();
    if (this.#heard) return;
    this.#heard = true;
    this.#wait(this.#silence);
  }

  /** One timer for all the tokens there are. @param {number} milliseconds */
  #wait(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const left = this.#last + this.#silence - Date.now();
      if (left <= 0) this.#attempt.abort();
      else this.#wait(left);
    }, milliseconds);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

/** How an answer ended, of which only what is stored is known. @param {any} known
 *  @returns {EndEvent | AbortedEvent | FailedEvent} */
function endOf({ status, position, usage, error, text, ...known }) {
  if (status === "completed") {
    const { finish_reason, model, provider, latency_ms, first_token_ms } = known;
    const provider_model = known.provider_model ?? "";
    const text_length = text.length;
    const told = { finish_reason, usage, model, provider, provider_model };
    return { type: "end", position, ...told, text_length, latency_ms, first_token_ms };
  }
  if (status === "aborted") return { type: "aborted", position, by: "user", usage };
  const {
    code = "interrupted",
    message = "The answer was interrupted.",
    retryable = true,
  } = error ?? {};
  return { type: "failed", position, code, message, retryable };
}

/** Whose an access token is; API keys do not say. @param {string | null} token */
function subjectOf(token) {
  try {
    const part = (token ?? "").split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(part)).sub;
  } catch {
    return "key";
  }
}

/** `crypto.randomUUID` is there in secure contexts only. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} id an id, or a name */
function sessionPath(id) {
  return `api/chat/sessions/${encodeURIComponent(id)}`;
}

// ------------------------------------------------------------------ a session's channel

/**
 * @typedef {object} SocketOptions
 * @property {boolean} [chunks] false: only questions, beginnings and ends are told, no text
 * @property {number} [pingEvery] milliseconds
 */

const FINAL_CLOSES = new Set([1000, 1008, 1009, 4403, 4404]);
const RESTARTING = 1012;
const UNAUTHORIZED = 4401;

/**
 * The channel of one session, on which all its devices see the same: an EventTarget that tells
 * frames by their types (`message_saved`, `stream_start`, `stream_chunk`, `reset`, `stream_end`,
 * `aborted`, `typing`, `error`, ...), `state` (`connecting`, `open`, `closed`), and `closed` with a
 * RunnelError once it will not come back. After a break it goes on where it was; what was told
 * before is not told again.
 */
export class RunnelSocket extends EventTarget {
  /** @type {"connecting" | "open" | "closed"} */
  state = "connecting";
  /** @type {string | null} */
  connectionId = null;

  #client;
  #name;
  #options;
  /** @type {any} */ #socket = null;
  /** @type {Map<string, { position: string | null, messageId: string }>} */ #answers = new Map();
  /** @type {Map<string, Record<string, any>>} what was sent and not confirmed */ #unsaved =
    new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */ #pinging;
  #failures = 0;
  #renewed = false;

  /** @param {RunnelClient} client @param {string} session an id, or a name
   *  @param {SocketOptions} [options] */
  constructor(client, session, options = {}) {
    super();
    this.#client = client;
    this.#name = session;
    this.#options = options;
    this.#connect();
  }

  /** Asks; sent once, however often the connection breaks. Gives the `client_message_id`.
   *  @param {string} content
   *  @param {{ clientMessageId?: string, model?: string, params?: Record<string, unknown>,
   *   stream?: boolean, attachments?: string[], metadata?: unknown }} [more] */
  send(content, { clientMessageId = newId(), ...more } = {}) {
    const frame = { type: "message", content, client_message_id: clientMessageId, ...more };
    this.#unsaved.set(clientMessageId, frame);
    this.#put(frame);
    return clientMessageId;
  }

  /** From its beginning, or from behind a position. @param {string} generationId @param {string} [after] */
  resume(generationId, after) {
    const known = this.#answers.get(generationId);
    this.#answers.set(generationId, { messageId: known?.messageId ?? "", position: after ?? null });
    this.#put({ type: "resume", generation_id: generationId, after });
  }

  /** What runs here, or one answer. @param {string} [generationId] */
  abort(generationId) {
    this.#put({ type: "abort", generation_id: generationId });
  }

  /** @param {boolean} active */
  typing(active) {
    this.#put({ type: "typing", active });
  }

  /** Leaves. Answers go on. */
  close() {
    this.#end(null);
  }

  async #connect() {
    const client = this.#client;
    const Socket = client._options.WebSocket ?? globalThis.WebSocket;
    const url = client.url(`ws/${encodeURIComponent(this.#name)}`, {
      chunks: this.#options.chunks === false ? false : undefined,
    });
    url.protocol = url.protocol.replace("http", "ws");
    const token = await client._signed();
    if (this.state === "closed") return;
    const socket = token ? new Socket(url.href, ["bearer", token]) : new Socket(url.href);
    this.#socket = socket;
    socket.onmessage = (/** @type {MessageEvent} */ { data }) => {
      if (this.#socket === socket) this.#hear(JSON.parse(data));
    };
    socket.onclose = (/** @type {CloseEvent} */ { code, reason }) => {
      if (this.#socket === socket) this.#closed(code, reason);
    };
  }

  /** @param {Record<string, any>} frame */
  #put(frame) {
    if (this.state === "open") this.#socket.send(JSON.stringify(frame));
  }

  /** @param {Record<string, any>} frame */
  #hear(frame) {
    const { type } = frame;
    if (type === "pong" || this.#known(frame)) return;
    if (type === "connected") this.#open(frame);
    if (type === "stream_start") {
      const known = this.#answers.get(frame.generation_id);
      const position = known?.position ?? null;
      this.#answers.set(frame.generation_id, { messageId: frame.message_id, position });
      if (known && position !== null) return; // it was told before the break
    }
    const ended = type === "stream_end" || type === "message" || type === "aborted";
    if (ended || (type === "error" && !frame.retryable)) this.#forget(frame);
    if (type === "message_saved" || (type === "error" && frame.code !== "rate_limited")) {
      this.#unsaved.delete(frame.client_message_id);
    }
    this.dispatchEvent(new DetailEvent(type, frame));
  }

  /** Whether it was told before; else it is from now on. @param {Record<string, any>} frame */
  #known({ type, generation_id, message_id, position }) {
    if (type !== "stream_chunk" && type !== "reset") return false;
    for (const [id, answer] of this.#answers) {
      // Of one that was resumed the message is not known yet.
      if (id !== generation_id && answer.messageId !== "" && answer.messageId !== message_id)
        continue;
      answer.messageId ||= message_id ?? "";
      if (!isBehind(position, answer.position)) return true;
      answer.position = position;
    }
    return false;
  }

  /** @param {Record<string, any>} frame */
  #forget({ generation_id, message_id }) {
    for (const [id, answer] of this.#answers) {
      if (id === generation_id || answer.messageId === message_id) this.#answers.delete(id);
    }
  }

  /** @param {Record<string, any>} frame */
  #open({ connection_id, running }) {
    this.connectionId = connection_id;
    this.#failures = 0;
    this.#renewed = false;
    this.#turn("open");
    this.#pinging = setInterval(
      () => this.#put({ type: "ping" }),
      this.#options.pingEvery ?? 60_000,
    );
    if (running && !this.#answers.has(running.generation_id) && this.#options.chunks !== false) {
      this.#answers.set(running.generation_id, { messageId: running.message_id, position: null });
    }
    for (const [generation_id, { position }] of this.#answers) {
      this.#put({ type: "resume", generation_id, after: position ?? undefined });
    }
    for (const frame of this.#unsaved.values()) this.#put(frame);
  }

  /** @param {number} code @param {string} reason */
  async #closed(code, reason) {
    clearInterval(this.#pinging);
    this.#turn("connecting");
    if (FINAL_CLOSES.has(code) || (code === UNAUTHORIZED && this.#renewed)) {
      this.#end(errorOf(CLOSES[code] ?? "closed", reason || `closed with ${code}`));
      return;
    }
    const socket = this.#socket;
    try {
      if (code === UNAUTHORIZED) {
        this.#renewed = true;
        await this.#client.refresh();
      } else if (code === RESTARTING && this.#failures === 0) {
        await this.#client._pause(0);
      } else {
        await this.#client._pause(this.#failures);
      }
    } catch (error) {
      if (error instanceof UnauthorizedError) return this.#end(error);
      await this.#client._pause(this.#failures);
    }
    this.#failures++;
    if (this.#socket === socket) this.#connect();
  }

  /** @param {RunnelError | null} error */
  #end(error) {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#pinging);
    socket?.close();
    this.#turn("closed");
    if (error) this.dispatchEvent(new DetailEvent("closed", error));
  }

  /** @param {"connecting" | "open" | "closed"} state */
  #turn(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new DetailEvent("state", state));
  }
}

/** @type {Record<number, string>} */
const CLOSES = {
  4401: "unauthorized",
  4403: "forbidden",
  4404: "not_found",
  1008: "rate_limited",
  1009: "payload_too_large",
};

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
    return this.#client.call("GET", sessionPath(id));
  }
  /** Title, settings, `status: "active"`. @param {string} id @param {Record<string, unknown>} changes
   *  @returns {Promise<any>} */
  update(id, changes) {
    return this.#client.call("PATCH", sessionPath(id), { body: changes });
  }
  /** Aborts what runs; the history stays. @param {string} id */
  close(id) {
    return this.#client.call("DELETE", sessionPath(id));
  }
  /** Gone for good. @param {string} id */
  purge(id) {
    return this.#client.call("DELETE", sessionPath(id), { query: { purge: true } });
  }
  /** @param {string} id @param {{ limit?: number, cursor?: string, tree?: boolean }} [query]
   *  @returns {Promise<{ messages: any[], next_cursor: string | null }>} */
  messages(id, query) {
    return this.#client.call("GET", `${sessionPath(id)}/messages`, { query });
  }
  /** Makes the branch of that leaf the active one. @param {string} id @param {string} messageId */
  branch(id, messageId) {
    const body = { message_id: messageId };
    return this.#client.call("PUT", `${sessionPath(id)}/branch`, { body });
  }
  /** @param {string} id @param {string} messageId
   *  @param {{ helpful?: boolean | null, rating?: number | null }} reaction */
  react(id, messageId, reaction) {
    const path = `${sessionPath(id)}/messages/${messageId}/reaction`;
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

/** API keys: accepted wherever a token is. */
class Keys {
  #client;
  /** @param {RunnelClient} client */
  constructor(client) {
    this.#client = client;
  }
  /** @returns {Promise<{ keys: any[], next_cursor: string | null }>} */
  list() {
    return this.#client.call("GET", "api/keys");
  }
  /** Its text is shown this once. @param {string} [name] @returns {Promise<any>} */
  create(name = "") {
    return this.#client.call("POST", "api/keys", { body: { name } });
  }
  /** @param {string} id */
  delete(id) {
    return this.#client.call("DELETE", `api/keys/${id}`);
  }
}
