/** The page: whoever is not signed in signs in, whoever is talks. */

import { RunnelClient } from "../client.js";
import { h } from "./dom.js";
import { words } from "./words.js";
import { NEW, rename } from "./house/addresses.js";
import { queuedOf } from "./house/connection.js";
import { confirmed } from "./house/dialogs.js";
import { House } from "./house/house.js";
import { emblem } from "./house/emblem.js";
import { Notes } from "./house/notes.js";
import { SignIn } from "./house/sign_in.js";
import { whyOf } from "./talk/faults.js";
import "./house/theme.js";

/** @import { RunnelError } from "../client.js" */

const t = words({
  en: {
    unreachable: "The server cannot be reached. It is tried again …",
    retry: "Try again now",
    leaveTitle: "Sign out now?",
    leaveText: "Messages that wait to be sent will be lost.",
    leave: "Sign out",
  },
  pt: {
    unreachable: "Não é possível alcançar o servidor. Tentando de novo …",
    retry: "Tentar agora",
    leaveTitle: "Sair agora?",
    leaveText: "Mensagens que esperam para ser enviadas serão perdidas.",
    leave: "Sair",
  },
});

const RETRY_MS = 5_000;

const client = new RunnelClient({ baseUrl: new URL(".", document.baseURI), storage: localStorage });
const notes = new Notes();
const stage = h("div", { class: "page" });
/** @type {House | null} */
let house = null;
let leaving = false;

client.addEventListener("signedout", askAgain);
// In another tab somebody has signed in: that login is this tab's too, and so is that user.
addEventListener("storage", async ({ key }) => {
  if (key !== "runnel.tokens" || !client.signedIn) return;
  if (signingIn()) arrive();
  else if (house && (await client.me().catch(() => house?.me)).id !== house.me.id)
    location.reload();
});
document.body.append(stage, notes.element);
arrive();

/** Goes in at once if one may: with a login that is kept, or as a guest where that is enough. */
async function arrive() {
  const known = client.signedIn;
  if (!known) showSignIn();
  try {
    enter(await client.me());
  } catch (error) {
    const { code } = /** @type {RunnelError} */ (error);
    if (known && code !== "unauthorized") showFault(error);
    else if (!signingIn()) showSignIn();
  }
}

function signingIn() {
  return stage.querySelector(".sign-in-form") !== null;
}

/** @param {any} me */
function enter(me) {
  if (house && house.me.id === me.id) {
    house.element.hidden = false;
    stage.replaceChildren(house.element);
    house.resume();
    return;
  }
  house?.leave();
  house = new House(client, me, notes, { signOut, signIn: () => showSignIn(me) });
  stage.replaceChildren(house.element);
  house.begin();
}

/** @param {any} [guest] who one is without signing in */
function showSignIn(guest) {
  const signIn = new SignIn(client, {
    signedIn: enter,
    again: house !== null && !guest,
    asGuest: guest ? () => enter(guest) : null,
  });
  stage.replaceChildren(signIn.element);
  signIn.focus();
}

/** The login does not hold any more. What was being done waits until it does again. */
function askAgain() {
  if (leaving || signingIn()) return;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  showSignIn();
}

async function signOut() {
  if (queuedOf(client) && !(await confirmed(t("leaveTitle"), t("leaveText"), t("leave")))) return;
  leaving = true;
  try {
    await client.logout();
  } catch (error) {
    // It is forgotten here; the server has it end by itself.
    notes.tell(whyOf(error), "error");
  } finally {
    leaving = false;
  }
  house?.leave();
  house = null;
  rename(NEW);
  // Where nobody has to sign in one is a guest again.
  await arrive();
}

/** The server did not answer, or not as it should. @param {unknown} error */
function showFault(error) {
  const network = /** @type {RunnelError} */ (error).code === "network";
  const timer = setTimeout(retry, RETRY_MS);
  addEventListener("online", retry, { once: true });
  function retry() {
    clearTimeout(timer);
    removeEventListener("online", retry);
    arrive();
  }
  stage.replaceChildren(
    h(
      "main",
      { class: "sign-in" },
      h(
        "div",
        { class: "sign-in-card" },
        emblem(),
        h("p", { role: "alert" }, network ? t("unreachable") : whyOf(error)),
        h("button", { type: "button", class: "button", onclick: retry }, t("retry")),
      ),
    ),
  );
}
