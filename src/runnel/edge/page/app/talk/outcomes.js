/** What the page knows of a message before it has read it: of what was asked, and of an end. */

import { statusOf } from "./items.js";

/** @import { Answer } from "../../client.js" */
/** @import { Options } from "../app.js" */
/** @import { Attached, Message } from "./tree.js" */

/** What its end says of an answer. @param {Message} message @param {Answer} answer */
export function outcome(message, answer) {
  const { end } = answer;
  if (!end) return {};
  const facts = end.type === "end" ? end : null;
  const usage = end.type === "failed" ? null : end.usage;
  return {
    content: answer.text,
    status: statusOf(answer),
    metadata: {
      ...message.metadata,
      usage,
      tokens_used: usage?.total_tokens ?? null,
      processing_time: facts && facts.latency_ms / 1000,
      agent_used: facts?.model ?? message.metadata.agent_used,
      first_token_ms: facts?.first_token_ms ?? null,
      finish_reason: facts?.finish_reason ?? null,
      error: end.type === "failed" ? end : null,
    },
  };
}

/**
 * @param {string} id
 * @param {string | null} parentId
 * @param {"user" | "assistant"} role
 * @param {string} content
 * @param {Attached[]} attachments
 * @returns {Message}
 */
export function written(id, parentId, role, content, attachments) {
  return {
    message_id: id,
    parent_id: parentId,
    generation_id: null,
    role,
    content,
    status: "completed",
    timestamp: new Date().toISOString(),
    metadata: { tokens_used: null, processing_time: null, agent_used: null, attachments },
    reactions: { helpful: null, rating: null },
  };
}

/** @param {Options} options */
export function chosen({ model, params }) {
  return { model: model ?? undefined, params: Object.keys(params).length ? params : undefined };
}
