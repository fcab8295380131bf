/** How many messages may be sent, in words. */

import { formatted, words } from "../../words.js";

const t = words({
  en: {
    used: "{used} of {limit} messages used",
    reset: "{used} of {limit} messages used, more in {seconds} s",
  },
  pt: {
    used: "{used} de {limit} mensagens usadas",
    reset: "{used} de {limit} mensagens usadas, mais em {seconds} s",
  },
});

/** @param {{ used: number, limit: number, reset_in: number }} limits */
export function showLimits({ used, limit, reset_in: seconds }) {
  const values = { used: formatted(used), limit: formatted(limit) };
  if (used < limit) return t("used", values);
  return t("reset", { ...values, seconds: formatted(Math.ceil(seconds)) });
}
