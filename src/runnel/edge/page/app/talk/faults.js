/** What went wrong, in words for whoever asked. The server's codes are those of its API. */

import { formatted, words } from "../words.js";

/** @import { RunnelError } from "../../client.js" */

const TEXTS = {
  en: {
    upstream_error: "The model's provider failed.",
    upstream_incomplete: "The model's provider broke off in the middle.",
    upstream_timeout: "The model did not answer in time.",
    upstream_rate_limited: "The model's provider has too much to do.",
    model_unavailable: "The model is not available now.",
    interrupted: "The server was interrupted while it answered.",
    shutting_down: "The server is restarting.",
    overloaded: "The server has too much to do now.",
    store_unavailable: "The server's database is not available now.",
    stream_unavailable: "The answer cannot be followed now.",
    rate_limited: "You have asked too much in a short time.",
    message_too_long: "The question is too long.",
    payload_too_large: "That is too large to be sent.",
    busy: "This session is being answered already.",
    session_closed: "The session is closed.",
    unknown_model: "The chosen model is not known any more.",
    conflict: "That does not go with what was said before.",
    idempotency_conflict: "This was sent before, with another content.",
    not_found: "It is not there any more.",
    unauthorized: "You are not signed in any more.",
    forbidden: "That is not allowed.",
    network: "The server cannot be reached.",
    invalid_request: "The server cannot take that.",
    other: "Something went wrong.",
    wait: "You can ask again in {seconds} s.",
  },
  pt: {
    upstream_error: "O provedor do modelo falhou.",
    upstream_incomplete: "O provedor do modelo parou no meio.",
    upstream_timeout: "O modelo não respondeu a tempo.",
    upstream_rate_limited: "O provedor do modelo está sobrecarregado.",
    model_unavailable: "O modelo não está disponível agora.",
    interrupted: "O servidor foi interrompido enquanto respondia.",
    shutting_down: "O servidor está reiniciando.",
    overloaded: "O servidor está sobrecarregado agora.",
    store_unavailable: "O banco de dados do servidor não está disponível agora.",
    stream_unavailable: "Não é possível acompanhar a resposta agora.",
    rate_limited: "Você perguntou demais em pouco tempo.",
    message_too_long: "A pergunta é longa demais.",
    payload_too_large: "Isto é grande demais para ser enviado.",
    busy: "Esta sessão já está sendo respondida.",
    session_closed: "A sessão está fechada.",
    unknown_model: "O modelo escolhido não é mais conhecido.",
    conflict: "Isto não combina com o que foi dito antes.",
    idempotency_conflict: "Isto já foi enviado antes, com outro conteúdo.",
    not_found: "Isto não existe mais.",
    unauthorized: "Você não está mais conectado à sua conta.",
    forbidden: "Isto não é permitido.",
    network: "Não é possível alcançar o servidor.",
    invalid_request: "O servidor não aceita isto.",
    other: "Algo deu errado.",
    wait: "Você poderá perguntar de novo em {seconds} s.",
  },
};
const t = words(TEXTS);

/** Where the server's own words say what the code does not. */
const TOLD_WITH_DETAIL = [
  "invalid_request",
  "message_too_long",
  "payload_too_large",
  "conflict",
  "other",
];

/** @param {{ code: string, message: string }} fault */
export function why({ code, message }) {
  const key = /** @type {keyof typeof TEXTS.en} */ (code in TEXTS.en ? code : "other");
  return message && TOLD_WITH_DETAIL.includes(key) ? `${t(key)} ${message}` : t(key);
}

/** @param {number} seconds */
export function waitFor(seconds) {
  return t("wait", { seconds: formatted(Math.max(1, Math.ceil(seconds))) });
}

/** Anything that was thrown, in words. @param {unknown} error */
export function whyOf(error) {
  const { code = "other", message = String(error) } = /** @type {Partial<RunnelError>} */ (error);
  return why({ code, message });
}
