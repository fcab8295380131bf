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

/**
 * Whatever goes wrong. `code` is the server's own (`rate_limited`, `busy`, ...), or one of the
 * client's: `network`, `bad_gateway` (what answers is a proxy), `cancelled`.
 */
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

  /** The fields at fault, where the server names any.
   *  @returns {{ field: string, message: string }[]} */
  get errors() {
    return this.facts.errors ?? [];
  }
}
/** The server cannot be reached. */
export class NetworkError extends RunnelError {}
/** The login does not hold any more: sign in again. */
export class UnauthorizedError extends RunnelError {}
/** This is not for you. */
export class ForbiddenError extends RunnelError {}
/** What was sent is wrong; `errors` names the fields. */
export class InvalidRequestError extends RunnelError {}
/** There is no such thing, or it is somebody else's. */
export class NotFoundError extends RunnelError {}
/** It does not go with what is there: a closed session, a name that is taken, a key used before. */
export class ConflictError extends RunnelError {}
/** An answer is being made in this session; `facts` has `generation_id`, `abort_url`. */
export class BusyError extends RunnelError {}
/** Too many; `retryAfter` says for how long. */
export class RateLimitedError extends RunnelError {}
/** The model failed, or cannot be asked. */
export class ModelError extends RunnelError {}
/** The server cannot do it now. */
export class UnavailableError extends RunnelError {}

/** By code: the class, and whether the same may go well a little later.
 *  @type {Record<string, [typeof RunnelError, boolean]>} */
const ERRORS = {
  network: [NetworkError, true],
  unauthorized: [UnauthorizedError, false],
  forbidden: [ForbiddenError, false],
  invalid_request: [InvalidRequestError, false],
  unknown_model: [InvalidRequestError, false],
  message_too_long: [InvalidRequestError, false],
  payload_too_large: [InvalidRequestError, false],
  not_found: [NotFoundError, false],
  conflict: [ConflictError, false],
  idempotency_conflict: [ConflictError, false],
  session_closed: [ConflictError, false],
  busy: [BusyError, true],
  rate_limited: [RateLimitedError, true],
  model_unavailable: [ModelError, true],
  upstream_error: [ModelError, true],
  upstream_rate_limited: [ModelError, true],
  upstream_incomplete: [ModelError, true],
  upstream_timeout: [ModelError, true],
  overloaded: [UnavailableError, true],
  shutting_down: [UnavailableError, true],
  store_unavailable: [UnavailableError, true],
  stream_unavailable: [UnavailableError, true],
  interrupted: [UnavailableError, true],
  bad_gateway: [UnavailableError, true],
};

/**
 * @param {string} code
 * @param {string} message
 * @param {ConstructorParameters<typeof RunnelError>[2]} [more]
 */
function errorOf(code, message, more) {
  const [kind, retryable] = ERRORS[code] ?? [RunnelError, false];
  return new kind(code, message, { retryable, ...more });
}

/** What stands between answers in its own way, without a code of ours. @param {number} status */
function codeOfStatus(status) {
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 413) return "payload_too_large";
  if (status === 429) return "rate_limited";
  return status >= 500 || status === 408 ? "bad_gateway" : `http_${status}`;
}

/** @param {Response} response */
async function errorOfResponse(response) {
  const said = await response.json().catch(() => null);
  const problem = typeof said?.code === "string" ? said : {};
  const retryAfter = Number(response.headers.get("Retry-After"));
  const code = problem.code ?? codeOfStatus(response.status);
  return errorOf(code, problem.detail ?? problem.title ?? `HTTP ${response.status}`, {
    status: response.status,
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

/** The lines of a text that comes in pieces. Proxies may have made CRLF of LF. */
class Lines {
  /** @type {string[]} what there is of the last line */ #begun = [];
  #afterReturn = false;

  /** The lines that a piece ends. @param {string} piece */
  *of(piece) {
    if (this.#afterReturn && piece.startsWith("\n")) {
      this.#afterReturn = false;
      piece = piece.slice(1);
    }
    if (piece !== "") this.#afterReturn = piece.endsWith("\r");
    // Only what is new is looked through, however long the line has got.
    const lines = piece.split(/\r\n|\n|\r/);
    const last = /** @type {string} */ (lines.pop());
    for (const line of lines) {
      yield this.#begun.join("") + line;
      this.#begun = [];
    }
    if (last !== "") this.#begun.push(last);
  }
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
  const lines = new Lines();
  /** @type {string[]} */
  let data = [];
  let [name, id] = ["", ""];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield undefined;
      for (const line of lines.of(decoder.decode(value, { stream: true }))) {
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
const MOST_RENEWALS = 2;
/** Why a read ends that is begun again at once, or when the tab is shown. */
const LEFT = "left";
const POLL_SECONDS = 25;
/** Longer than a poll waits; a call that takes longer is lost. */
const CALL_TIMEOUT = 60_000;
const PROBE_TIMEOUT = 10_000;

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
  /** How long before its end the token is renewed. */
  #ahead = AHEAD;
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
  #probes = 0;
  /** Whether the last call came to the server. */
  #reached = true;
  /** @type {Set<unknown>} what broke off and is to be connected again */ #broken = new Set();

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
    if (!options.token) this.#adopt();
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
    for (const { answer } of [...this.#entries]) answer.cancel();
    try {
      await this.call("POST", "logout");
    } finally {
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
    this.#store(entry);
    const { question, clientMessageId } = entry.answer;
    const lane = question?.sessionId ?? entry.behind ?? /** @type {string} */ (clientMessageId);
    const before = this.#lanes.get(lane);
    const ended = before ? before.then(() => this.#send(entry)) : this.#send(entry);
    this.#occupy(lane, ended);
    if (before || this.state === "offline") this.#delay(entry);
  }

  /** @param {string} lane @param {Promise<unknown>} ended */
  #occupy(lane, ended) {
    this.#lanes.set(lane, ended);
    ended.finally(() => {
      if (this.#lanes.get(lane) === ended) this.#lanes.delete(lane);
    });
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
      const token = this.#token;
      if (entry.subject !== "" && subjectOf(token) !== entry.subject) {
        // Nobody is signed in meanwhile, or somebody else.
        this.#delay(entry);
        await this.#moment(Infinity);
        continue;
      }
      if (entry.behind && !body.session_id) body.session_id = this.#begun.get(entry.behind);
      try {
        const accepted = await this.call("POST", path, { body });
        if (this.#entries.includes(entry)) this.#accepted(entry, accepted);
        else if (!answer.generationId) {
          // It was taken back while it was on its way.
          await this.abort(accepted.generation_id).catch(() => {});
          return;
        }
      } catch (error) {
        if (!this.#entries.includes(entry)) break;
        const busy = error instanceof BusyError && entry.waited;
        if (!busy && !passes(error) && !(error instanceof UnauthorizedError && entry.waited)) {
          this.#remove(entry);
          answer._fail(asError(error));
          return;
        }
        this.#delay(entry);
        const refused = error instanceof UnauthorizedError && token === this.#token;
        await (refused ? this.#moment(Infinity) : this.#pause(failures, error));
      }
    }
    if (answer.generationId) await this.#follow(answer);
  }

  /** The server has it. @param {Entry} entry @param {Record<string, any>} accepted */
  #accepted(entry, accepted) {
    const { client_message_id: first } = entry.body;
    this.#begun.set(first, accepted.session_id);
    // What is asked next in a session that this has begun waits for it, by its id too.
    const ended = this.#lanes.get(first);
    if (ended && !this.#lanes.has(accepted.session_id)) this.#occupy(accepted.session_id, ended);
    // So that other tabs which have it too know that it was not taken back.
    this.#put(entry, { accepted });
    entry.answer._accept(accepted);
    this.#remove(entry);
  }

  /** What another tab has kept, or does not keep any more. @param {string} key
   *  @param {string | null} value */
  #heardOfQuestion(key, value) {
    const entry = this.#entries.find((each) => this.#place(each) === key);
    const kept = readKept(value);
    if (!entry) {
      if (kept?.waited) this.#restore();
    } else if (kept?.accepted) {
      this.#accepted(entry, kept.accepted);
      this.#wake();
    } else if (value === null) {
      this.#remove(entry);
      entry.answer._fail(errorOf("cancelled", "The question was taken back in another tab."));
      this.#wake();
    }
  }

  /** A question is kept for who asked it. @param {Entry} entry */
  #place({ subject, body }) {
    return `${QUEUE}${subject}.${body.client_message_id}`;
  }

  /** @param {Entry} entry */
  #store(entry) {
    const { answer, path, body, at, behind, waited } = entry;
    this.#put(entry, { path, body, at, behind, waited, question: answer.question });
  }

  /** @param {Entry} entry @param {object} kept */
  #put(entry, kept) {
    try {
      this.#options.storage?.setItem(this.#place(entry), JSON.stringify(kept));
    } catch {
      // It is full, or not allowed: the question waits in this page only.
    }
  }

  /** What an earlier page has left unsent, or another tab has. */
  #restore() {
    const { storage } = this.#options;
    if (!storage) return;
    const found = [];
    for (let index = 0; index < storage.length; index++) {
      const key = storage.key(index) ?? "";
      // Whose it is stands before its id; what nobody asked is whoever's comes.
      for (const subject of new Set([subjectOf(this.#token), ""])) {
        const kept = key.startsWith(`${QUEUE}${subject}.`) ? readKept(storage.getItem(key)) : null;
        if (kept?.body) found.push({ ...kept, subject });
      }
    }
    found.sort((one, other) => one.at - other.at);
    for (const { path, body, at, behind, question, subject } of found) {
      const id = body.client_message_id;
      if (this.#entries.some((entry) => entry.body.client_message_id === id)) continue;
      const answer = new Answer(this, question);
      answer.status = "queued";
      this.#add({ answer, path, body, at, behind, subject, waited: true });
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
      if (answer.end || answer.error || answer.signal.aborted) break;
      if (attempt.signal.reason === LEFT) continue;
      if (fault && !passes(fault) && !(fault instanceof RateLimitedError)) {
        answer._fail(asError(fault));
        break;
      }
      failures = answer.position === before ? failures + 1 : 0;
      answer._turn("connecting");
      this._broken(answer);
      await this.#pause(failures, fault, answer.signal);
    }
    this._mended(answer);
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
        this.#heard(answer);
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
    if (attempt.signal.aborted) return; // meanwhile nobody wants it any more
    const url = this.url(`api/generations/${answer.generationId}/events`, {
      ticket,
      after: answer.position,
    });
    const source = new Source(url.href);
    // It shows no heartbeats: whether silence is the model's own, a plain call tells.
    const firstSign = this.#options.firstSign ?? 20_000;
    const asking = setInterval(async () => {
      const before = answer.position;
      const page = await this.#page(answer, 0, attempt).catch(() => null);
      if (!page || page.events.length === 0 || answer.position !== before) return;
      // It may be on its way just now.
      await new Promise((resolve) => setTimeout(resolve, firstSign / 4));
      if (answer.position === before && !attempt.signal.aborted) stop(new HeldUpError());
    }, firstSign);
    /** @type {(error?: unknown) => void} */
    let stop = () => {};
    try {
      await new Promise((resolve, reject) => {
        stop = (error) => (error ? reject(error) : resolve(undefined));
        attempt.signal.addEventListener("abort", () => stop());
        for (const type of ["start", "token", "reset", "end", "aborted", "failed"]) {
          source.addEventListener(type, (/** @type {MessageEvent} */ { data, lastEventId }) => {
            this.#heard(answer);
            answer._take(/** @type {AnswerEvent} */ (eventOf(type, lastEventId, data)));
            if (answer.end) stop();
          });
        }
        source.onopen = () => this.#heard(answer);
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
      this.#heard(answer);
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
    window.addEventListener("online", () => {
      // The network may be another one: what is open may be open on this side only.
      for (const attempt of this.#reading) attempt.abort(LEFT);
      this.#wake();
    });
    window.addEventListener("offline", () => this.#missed());
    window.addEventListener("storage", ({ key, newValue, storageArea }) => {
      if (storageArea !== this.#options.storage) return;
      if (key?.startsWith(QUEUE)) this.#heardOfQuestion(key, newValue);
      if (key !== TOKENS && key !== null) return;
      this.#adopt();
      // A login that was never kept is no other tab's to end.
      if (this.#refreshToken !== null && this.#kept() === null) this.#forget();
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
          for (const attempt of this.#reading) attempt.abort(LEFT);
        }, after);
      }
    });
  }

  #wake() {
    for (const wake of [...this.#waiting]) wake();
  }

  /** @param {AbortSignal} signal */
  async #shown(signal) {
    while (this.#hidden && !signal.aborted) await this.#moment(Infinity, signal);
  }

  /**
   * Before trying again: longer and longer, and never all clients at once.
   * @param {number} failures @param {unknown} [error] @param {AbortSignal} [signal]
   * @param {number} [longer] how many times
   */
  #pause(failures, error = null, signal, longer = 1) {
    const asked = error instanceof RunnelError ? (error.retryAfter ?? 0) * 1000 : 0;
    const first = (this.#options.backoff ?? 500) * longer;
    const most = Math.min(LONGEST_PAUSE, first * 2 ** Math.min(failures, 10));
    return this.#moment(asked + most * Math.random(), signal, asked);
  }

  /** @internal @param {number} failures @param {RunnelError | null} error
   *  @param {AbortSignal} signal @param {number} [longer] how many times */
  _pause(failures, error, signal, longer) {
    return this.#pause(failures, error, signal, longer);
  }

  /** So long, or until there is reason to try at once: though not before the server said.
   *  @param {number} milliseconds @param {AbortSignal} [signal] @param {number} [asked]
   *  @param {boolean} [held] whether a program in Node goes on for it */
  #moment(milliseconds, signal, asked = 0, held = true) {
    const earliest = Date.now() + asked;
    return new Promise((resolve) => {
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let timer;
      const go = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        signal?.removeEventListener("abort", go);
        resolve(undefined);
      };
      const wake = () => {
        if (Date.now() >= earliest) go();
      };
      if (milliseconds !== Infinity) timer = setTimeout(go, milliseconds);
      if (!held) /** @type {any} */ (timer).unref?.();
      this.#waiting.add(wake);
      signal?.addEventListener("abort", go);
      if (signal?.aborted) go();
    });
  }

  /** A sign of life of an answer's stream. @param {Answer} answer */
  #heard(answer) {
    this.#came();
    this._mended(answer);
    if (answer.position !== null && answer.status === "connecting") answer._turn("running");
  }

  /** @internal What broke off and is to be connected again. @param {unknown} thing */
  _broken(thing) {
    this.#broken.add(thing);
    this.#turn();
  }

  /** @internal It is connected again, or never will be. @param {unknown} thing */
  _mended(thing) {
    if (this.#broken.delete(thing)) this.#turn();
  }

  /** A call came to the server. */
  #came() {
    this.#probes = 0;
    this.#back();
  }

  /** A call did not come to the server. */
  #missed() {
    this.#reached = false;
    this.#turn();
    this.#probe();
  }

  #back() {
    if (this.#reached) return;
    this.#reached = true;
    this.#turn();
    this.#wake();
  }

  #turn() {
    const state = !this.#reached ? "offline" : this.#broken.size > 0 ? "reconnecting" : "live";
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new DetailEvent("state", state));
  }

  /** Looks whether the server is back, and has whoever waits try at once then. */
  async #probe() {
    if (this.#probing) return;
    this.#probing = true;
    while (!this.#reached) {
      // Only a call that is none of these begins the count anew: where nothing else comes
      // through, it is asked less and less.
      const most = Math.min(
        LONGEST_PAUSE,
        (this.#options.backoff ?? 500) * 2 ** Math.min(this.#probes++, 10),
      );
      await this.#moment(Math.random() * most, undefined, 0, false);
      if (!this.#reached && (await this.#isThere())) this.#back();
    }
    this.#probing = false;
  }

  async #isThere() {
    const limit = new Limit(PROBE_TIMEOUT);
    try {
      const send = this.#options.fetch ?? globalThis.fetch;
      const response = await send(this.url("healthz"), { cache: "no-store", signal: limit.signal });
      return response.ok && (await response.json()).status === "ok";
    } catch {
      return false;
    } finally {
      limit.clear();
    }
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
  async call(method, path, { signal, ...options } = {}) {
    const uploads = typeof FormData !== "undefined" && options.body instanceof FormData;
    const limit = new Limit(uploads ? Infinity : CALL_TIMEOUT, signal);
    try {
      return await this.#json(
        await this.request(method, path, { ...options, signal: limit.signal }),
      );
    } catch (error) {
      if (!limit.expired) throw error;
      this.#missed();
      throw errorOf("network", "The server took too long to answer.", { cause: error });
    } finally {
      limit.clear();
    }
  }

  /**
   * The same, as a Response that is good. A token that has expired is renewed in between.
   * @param {string} method
   * @param {string} path
   * @param {CallOptions} [options]
   */
  async request(method, path, options = {}) {
    await this.#renewInTime();
    for (let renewals = 0; ; renewals++) {
      const token = this.#token;
      try {
        return await this.#once(method, path, options);
      } catch (error) {
        // What was taken over from another tab may have run out as well.
        const refused = error instanceof UnauthorizedError && token !== null;
        if (!refused) throw error;
        if (renewals === MOST_RENEWALS) {
          this.#forget();
          throw error;
        }
        await this._refreshed(token);
      }
    }
  }

  /** A little before its end, so that nothing is refused meanwhile. */
  async #renewInTime() {
    await this.#ensure();
    if (this.#refreshToken === null || this.#expiresAt === null) return;
    if (Date.now() < this.#expiresAt - this.#ahead) return;
    await this.refresh().catch((error) => {
      if (error instanceof UnauthorizedError) throw error;
      // Else what there is may still do.
    });
  }

  /** Renews the token. Raises UnauthorizedError if the login does not hold any more. */
  refresh() {
    this.#refreshing ??= this.#alone().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #ensure() {
    const { token } = this.#options;
    if (this.#token === null && typeof token === "function") {
      this.#token = await given(token, { expired: false });
    }
  }

  /** One tab at a time, where the browser can see to that. @param {string | null} stale */
  async #alone(stale = this.#token) {
    const locks = this.#options.storage && globalThis.navigator?.locks;
    if (!locks) return this.#renew(stale);
    // A tab that sleeps may hold it.
    const limit = new Limit(OTHER_TAB);
    try {
      await locks.request("runnel.refresh", { signal: limit.signal }, () => {
        limit.clear();
        return this.#renew(stale);
      });
    } catch (error) {
      if (!limit.expired) throw error;
      await this.#renew(stale);
    } finally {
      limit.clear();
    }
  }

  /** @param {string | null} stale */
  async #renew(stale) {
    const { token } = this.#options;
    if (typeof token === "function") {
      this.#token = await given(token, { expired: true });
      return;
    }
    if (this.#hasAnother(stale)) return; // another tab was faster
    try {
      if (!this.#refreshToken) throw errorOf("unauthorized", "The login does not hold any more.");
      const body = { refresh_token: this.#refreshToken };
      this.#keep(await this.#json(await this.#once("POST", "refresh", { body }, false)));
    } catch (error) {
      if (error instanceof RunnelError && error.code === "conflict") {
        await this.#otherTabs(stale);
      } else {
        // Another tab may have signed in meanwhile.
        if (error instanceof UnauthorizedError && this.#hasAnother(stale)) return;
        if (error instanceof UnauthorizedError) this.#forget();
        throw error;
      }
    }
  }

  /** Another tab is renewing the same login: its pair is the one to use. @param {string | null} stale */
  async #otherTabs(stale) {
    const end = Date.now() + OTHER_TAB;
    while (Date.now() < end) {
      if (this.#hasAnother(stale)) return;
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
      this.#missed();
      throw errorOf("network", "The server cannot be reached.", { cause: error });
    }
    const fault = response.ok ? null : await errorOfResponse(response);
    if (fault?.code === "bad_gateway") this.#missed();
    else this.#came();
    if (fault) throw fault;
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
    this.#ahead = Math.min(AHEAD, pair.expires_in * 250);
    const tokens = { token: this.#token, refreshToken: this.#refreshToken, at: this.#expiresAt };
    try {
      this.#options.storage?.setItem(TOKENS, JSON.stringify(tokens));
    } catch {
      // Then the login ends with this page.
    }
    this.dispatchEvent(new DetailEvent("tokens", tokens));
    this.#wake();
  }

  /** Takes over what another tab has kept, if it is newer than what is known here. */
  #adopt() {
    const kept = this.#kept();
    if (!kept?.token || kept.token === this.#token || kept.at <= (this.#expiresAt ?? 0))
      return false;
    this.#token = kept.token;
    this.#refreshToken = kept.refreshToken;
    this.#expiresAt = kept.at;
    this.dispatchEvent(new DetailEvent("tokens", kept));
    this.#wake();
    return true;
  }

  /** Whether another tab's token has come since. @param {string | null} stale */
  #hasAnother(stale) {
    return this.#adopt() || (this.#token !== null && this.#token !== stale);
  }

  #kept() {
    return readKept(this.#options.storage?.getItem(TOKENS));
  }

  #forget() {
    const was = this.#token;
    this.#token = this.#refreshToken = this.#expiresAt = null;
    this.#options.storage?.removeItem(TOKENS);
    if (was !== null) this.dispatchEvent(new DetailEvent("signedout", null));
  }

  /** @internal The token, if there is one or one is given; a good one. */
  async _signed() {
    await this.#renewInTime();
    return this.#token;
  }

  /** @internal A token was refused: there is another one by now, or there will be.
   *  @param {string | null} token */
  async _refreshed(token) {
    if (token === this.#token) await this.refresh();
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

/** A signal that is aborted with another one, or after some time. */
class Limit {
  /** Whether the time was over. */
  expired = false;
  #controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #outer;
  #follow = () => this.#controller.abort(this.#outer?.reason);

  /** @param {number} milliseconds Infinity for none @param {AbortSignal} [outer] */
  constructor(milliseconds, outer) {
    this.#outer = outer;
    if (outer?.aborted) this.#follow();
    else outer?.addEventListener("abort", this.#follow, { once: true });
    if (milliseconds === Infinity) return;
    this.#timer = setTimeout(() => {
      this.expired = true;
      this.#controller.abort();
    }, milliseconds);
  }

  get signal() {
    return this.#controller.signal;
  }

  clear() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#follow);
  }
}

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

/** Whose a token is; nobody's without one. API keys do not say. @param {string | null} token */
function subjectOf(token) {
  if (token === null) return "";
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(part)).sub;
  } catch {
    return `key-${token.slice(0, 12)}`;
  }
}

/** Asks who gives the tokens; that there is none just now passes.
 *  @param {TokenSource} token @param {{ expired: boolean }} what */
async function given(token, what) {
  try {
    return await token(what);
  } catch (error) {
    if (error instanceof RunnelError) throw error;
    throw errorOf("network", "No token could be had.", { cause: error });
  }
}

/** What stands in the storage, where others may write too. @param {string | null} [text] */
function readKept(text) {
  try {
    return JSON.parse(text ?? "null");
  } catch {
    return null;
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
 * @property {boolean} [chunks] false: it tells that answers begin and end, not what they say
 * @property {number} [pingEvery] milliseconds; 20,000 without it
 */

/**
 * What a channel knows of an answer that is being told.
 * @typedef {{ generationId: string, messageId: string | null, position: string | null,
 *   text: string }} Told
 */

/**
 * @typedef {object} Unsaved
 * @property {string} id
 * @property {string} frame
 * @property {boolean} sent on this connection
 * @property {boolean} tried on any
 * @property {boolean} queued whether it waits for the answer before it
 */

const OPEN_TIMEOUT = 20_000;
/** So often it cannot be opened, and nobody else is told to wait for it any more. */
const MOST_UNOPENED = 3;
/** By close code: what it says, where connecting again is of no use. @type {Record<number, string>} */
const FINAL = { 4401: "unauthorized", 4403: "forbidden", 4404: "not_found" };
/** By close code: how many times longer than usual the first pause is.
 *  @type {Record<number, number>} */
const LONGER = { 1008: 20, 1013: 4, 4429: 10 };
/** With these an answer is not over, though an `error` names it. */
const GOES_ON = new Set(["stream_unavailable", "store_unavailable"]);

/**
 * The channel of one session: an EventTarget that tells the frames of `/ws/{session_id}` by their
 * types (`connected`, `message_saved`, `stream_start`, `stream_chunk`, `reset`, `stream_end`, `message`,
 * `aborted`, `typing`, `error`), each once, whatever breaks in between. Those of an answer
 * have its `generation_id`. `state` tells `connecting`, `open`, `closed`;
 * `closed` that it will not come back, with the error.
 */
export class RunnelSocket extends EventTarget {
  /** @type {"connecting" | "open" | "closed"} */
  state = "connecting";
  /** @type {string | null} the session's id */
  session = null;
  /** @type {string | null} */
  connectionId = null;
  /** @type {string | null} */
  lastMessageId = null;
  /** @type {RunnelError | null} why it is closed for good */
  error = null;
  /** @type {Map<string, Told>} answers that are not over, by generation */
  answers = new Map();

  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Unsaved[]} */ #unsaved = [];
  /** @type {Set<string>} messages that were told, generations that are over */ #over = new Set();
  /** @type {string | null} */ #resuming = null;
  /** @type {string | null} that was sent with the last connection */ #token = null;
  #left = new AbortController();
  #client;
  #options;

  /** @param {RunnelClient} client @param {string} sessionId an id, or a name of yours
   *  @param {SocketOptions} [options] */
  constructor(client, sessionId, options = {}) {
    super();
    this.#client = client;
    this.sessionId = sessionId;
    this.#options = options;
    queueMicrotask(() => this.#live());
  }

  /**
   * Asks; it is sent when it can be, once, those that waited one behind the other's answer. Gives
   * its `client_message_id`, by which `message_saved` or `error` tells what became of it.
   * @param {string} content
   * @param {{ clientMessageId?: string, model?: string, params?: Record<string, unknown>,
   *   attachments?: string[], stream?: boolean, metadata?: Record<string, unknown> }} [more]
   */
  send(content, { clientMessageId: id = newId(), ...more } = {}) {
    if (this.state === "closed") throw this.error ?? errorOf("closed", "The channel is closed.");
    const frame = JSON.stringify({ type: "message", content, client_message_id: id, ...more });
    const queued = this.state !== "open" || this.#unsaved.some((one) => one.queued);
    this.#unsaved.push({ id, frame, sent: false, tried: false, queued });
    this.#flush();
    return id;
  }

  /** Tells an answer from behind a position, or from its beginning.
   *  @param {string} generationId @param {string | null} [after] @param {string} [text] up to there */
  resume(generationId, after = null, text = "") {
    this.#over.delete(generationId);
    this.answers.set(generationId, { generationId, messageId: null, position: after, text });
    this.#resume(generationId);
  }

  /** Stops an answer for everyone: that, or what is running in the session.
   *  @param {string} [generationId] */
  async abort(generationId) {
    if (this.#write({ type: "abort", generation_id: generationId })) return;
    const running = generationId ?? this.answers.keys().next().value;
    if (running !== undefined) await this.#client.abort(running);
  }

  /** Tells the others that somebody types here, or has stopped. @param {boolean} [active] */
  typing(active = true) {
    this.#write({ type: "typing", active });
  }

  /** Leaves; what runs goes on. What was not sent is not sent any more, here. */
  close() {
    this.#end(null);
  }

  async #live() {
    const client = this.#client;
    const { signal } = this.#left;
    let [failures, refused, wasOpen] = [0, 0, false];
    while (!signal.aborted) {
      const { code, fault } = await this.#connection();
      if (signal.aborted) break;
      const opened = this.state === "open";
      this.#turn("connecting");
      this.#lost();
      if (fault && !fault.retryable) return this.#end(fault);
      if (opened) [failures, refused, wasOpen] = [0, 0, true];
      // A proxy that lets no WebSocket through does not make the whole connection a bad one.
      if (wasOpen && failures < MOST_UNOPENED) client._broken(this);
      else client._mended(this);
      if (code === 1009) this.#refuseLast();
      if (code in FINAL) {
        // A ticket or a token that was too old: the next is a new one.
        if (code !== 4401 || refused++ > 0) {
          return this.#end(errorOf(FINAL[code], fault?.message || `closed with ${code}`));
        }
        const renewed = await this.#renewed();
        if (renewed) return this.#end(renewed);
        continue;
      }
      const again = code === 1012 ? 0 : failures++;
      await client._pause(again, fault, signal, LONGER[code]);
    }
  }

  /** Lives through one connection. @returns {Promise<{ code: number, fault: RunnelError | null }>} */
  async #connection() {
    try {
      const { url, protocols } = await this.#address();
      if (this.#left.signal.aborted) return { code: 1000, fault: null };
      return await this.#connect(url, protocols);
    } catch (error) {
      return { code: 1006, fault: asError(error) };
    }
  }

  async #address() {
    const url = this.#client.url(`ws/${encodeURIComponent(this.sessionId)}`, {
      chunks: this.#options.chunks === false ? false : undefined,
    });
    url.protocol = url.protocol.replace("http", "ws");
    const token = await this.#client._signed();
    this.#token = token;
    return { url, protocols: token ? ["bearer", token] : [] };
  }

  /** The token was too old. @returns {Promise<RunnelError | null>} why there is no newer one */
  async #renewed() {
    try {
      await this.#client._refreshed(this.#token);
      return null;
    } catch (error) {
      const fault = asError(error);
      return fault.retryable ? null : fault;
    }
  }

  /** @param {URL} url @param {string[]} protocols
   *  @returns {Promise<{ code: number, fault: RunnelError | null }>} */
  #connect(url, protocols) {
    const Socket = this.#client._options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw errorOf("unsupported", "There is no WebSocket here: hand one in.");
    return new Promise((resolve) => {
      /** @type {WebSocket} */
      const socket = new Socket(url.href, protocols);
      this.#socket = socket;
      let awaited = true;
      const begun = Date.now();
      const over = (/** @type {number} */ code, /** @type {string} */ reason) => {
        clearInterval(pinging);
        socket.onmessage = socket.onclose = socket.onerror = null;
        this.#left.signal.removeEventListener("abort", leave);
        if (this.#socket === socket) this.#socket = null;
        resolve({ code, fault: errorOf("network", reason) });
      };
      const leave = () => {
        socket.close(1000);
        over(1000, "left");
      };
      const pinging = setInterval(() => {
        if (this.state !== "open" && Date.now() - begun < OPEN_TIMEOUT) return;
        // Nothing has come since the last one: a connection that is open on this side only.
        if (awaited) return leave();
        awaited = true;
        this.#write({ type: "ping" });
      }, this.#options.pingEvery ?? 20_000);
      this.#left.signal.addEventListener("abort", leave);
      socket.onmessage = ({ data }) => {
        awaited = false;
        this.#hear(JSON.parse(String(data)));
      };
      socket.onerror = () => {};
      socket.onclose = ({ code, reason }) => over(code, reason);
    });
  }

  /** @param {any} frame */
  #hear(frame) {
    const generation = frame.generation_id ?? this.#generationOf(frame.message_id);
    const told = generation && this.answers.get(generation);
    switch (frame.type) {
      case "pong":
        return;
      case "connected":
        return this.#connected(frame);
      case "message_saved":
        this.#settle(frame.client_message_id);
        this.lastMessageId = frame.message_id;
        if (this.#isNew(frame.message_id)) this.#tell(frame);
        this.#flush();
        return;
      case "stream_start":
        this.#started(frame);
        return;
      case "stream_chunk":
        if (!told || !isBehind(frame.position, told.position)) return;
        told.position = frame.position;
        told.text += frame.content;
        this.#tell({ ...frame, generation_id: generation });
        return;
      case "reset":
        if (!told || !isBehind(frame.position, told.position)) return;
        told.position = frame.position;
        told.text = frame.text;
        this.#tell({ ...frame, message_id: told.messageId });
        return;
      case "stream_end":
      case "aborted":
      case "message":
        this.#ended(frame, generation);
        return;
      case "error":
        this.#failed(frame);
        return;
      default:
        this.#tell(frame);
    }
  }

  /** @param {any} frame */
  #connected(frame) {
    this.session = frame.session_id;
    this.connectionId = frame.connection_id;
    this.lastMessageId = frame.last_message_id;
    this.#client._mended(this);
    this.#turn("open");
    this.#tell(frame);
    const running = frame.running;
    if (running && !this.answers.has(running.generation_id)) {
      const { generation_id: generationId, message_id: messageId } = running;
      this.answers.set(generationId, { generationId, messageId, position: null, text: "" });
    }
    this.#resumeNext();
    this.#flush();
  }

  /** @param {any} frame */
  #started({ message_id: messageId, generation_id: generationId, ...more }) {
    if (this.#over.has(generationId)) return;
    const told = this.answers.get(generationId);
    if (told) told.messageId = messageId;
    else this.answers.set(generationId, { generationId, messageId, position: null, text: "" });
    if (this.#isNew(`start ${generationId}`)) {
      this.#tell({ ...more, message_id: messageId, generation_id: generationId });
    }
  }

  /** @param {any} frame @param {string | undefined} generation */
  #ended(frame, generation) {
    const told = generation && this.answers.get(generation);
    if (generation) this.answers.delete(generation);
    if (this.#isNew(`end ${frame.message_id}`)) {
      if (generation) this.#over.add(generation);
      this.lastMessageId = frame.message_id;
      const text = told ? { text: told.text } : {};
      this.#tell({ ...text, ...frame, ...(generation && { generation_id: generation }) });
    }
    if (this.#resuming === generation) this.#resumeNext();
    this.#flush();
  }

  /** @param {any} frame */
  #failed(frame) {
    const { code, message, retryable, retry_after: retryAfter } = frame;
    const error = errorOf(code, message, { retryable, retryAfter, facts: frame });
    const unsaved = this.#unsaved.find(({ id }) => id === frame.client_message_id);
    if (unsaved) {
      const busy = error instanceof BusyError || error instanceof RateLimitedError;
      if (passes(error) || (unsaved.queued && busy)) return void this.#sendLater(unsaved, error);
      this.#settle(unsaved.id);
      this.#tell(frame);
      this.#flush();
      return;
    }
    const told = this.answers.get(frame.generation_id);
    if (told && GOES_ON.has(code)) return void this.#resumeLater(told.generationId, error);
    if (told && code !== "busy") {
      this.answers.delete(told.generationId);
      this.#over.add(told.generationId);
      if (this.#resuming === told.generationId) this.#resumeNext();
    } else if (code === "not_found" && this.#resuming) {
      this.answers.delete(this.#resuming);
      this.#resumeNext();
    } else if (this.#over.has(frame.generation_id)) return;
    this.#tell(frame);
    this.#flush();
  }

  /** @param {Unsaved} unsaved @param {RunnelError} error */
  async #sendLater(unsaved, error) {
    unsaved.queued = true;
    await this.#client._pause(1, error, this.#left.signal);
    unsaved.sent = false;
    this.#flush();
  }

  /** @param {string} generationId @param {RunnelError} error */
  async #resumeLater(generationId, error) {
    await this.#client._pause(2, error, this.#left.signal);
    if (this.answers.has(generationId)) this.#resume(generationId);
  }

  /** Only one answer is resumed at a time: a second one would take its place. */
  #resumeNext() {
    this.#resuming = null;
    const next = this.answers.keys().next().value;
    if (next !== undefined) this.#resume(next);
  }

  /** @param {string} generationId */
  #resume(generationId) {
    const after = this.answers.get(generationId)?.position ?? undefined;
    this.#resuming = generationId;
    this.#write({ type: "resume", generation_id: generationId, after });
  }

  /** Sends what was not sent: what waited, one behind the other. */
  #flush() {
    if (this.state !== "open") return;
    for (const [index, unsaved] of this.#unsaved.entries()) {
      if (unsaved.sent) continue;
      if (unsaved.queued && (index > 0 || (!unsaved.tried && this.answers.size > 0))) return;
      unsaved.sent = unsaved.tried = true;
      this.#socket?.send(unsaved.frame);
    }
  }

  /** What was not confirmed is sent again: the server knows it by its id. */
  #lost() {
    this.#resuming = null;
    for (const unsaved of this.#unsaved) {
      unsaved.sent = false;
      unsaved.queued = true;
    }
  }

  /** The server did not take the frame that was sent last. */
  #refuseLast() {
    const unsaved = this.#unsaved.findLast(({ tried }) => tried);
    if (!unsaved) return;
    this.#settle(unsaved.id);
    const message = "The message is too long for a WebSocket.";
    const told = { code: "payload_too_large", message, retryable: false };
    this.#tell({ type: "error", ...told, client_message_id: unsaved.id });
  }

  /** @param {string | null} id @returns {Unsaved | undefined} */
  #settle(id) {
    const unsaved = this.#unsaved.find((one) => one.id === id);
    this.#unsaved = this.#unsaved.filter((one) => one !== unsaved);
    return unsaved;
  }

  /** @param {string} messageId */
  #generationOf(messageId) {
    for (const told of this.answers.values()) {
      if (told.messageId === messageId) return told.generationId;
    }
    return undefined;
  }

  /** @param {string} told */
  #isNew(told) {
    if (this.#over.has(told)) return false;
    this.#over.add(told);
    return true;
  }

  /** @param {Record<string, unknown>} frame @returns {boolean} whether it could be sent */
  #write(frame) {
    if (this.state !== "open" || this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** @param {any} frame */
  #tell(frame) {
    this.dispatchEvent(new DetailEvent(frame.type, frame));
  }

  /** @param {"connecting" | "open" | "closed"} state */
  #turn(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new DetailEvent("state", state));
  }

  /** @param {RunnelError | null} error */
  #end(error) {
    if (this.state === "closed") return;
    this.error = error;
    this.#turn("closed");
    this.#left.abort();
    this.#client._mended(this);
    this.#unsaved = [];
    if (error) this.dispatchEvent(new DetailEvent("closed", error));
  }
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
