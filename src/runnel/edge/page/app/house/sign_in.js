/** Where one signs in, or has an account made where the server lets anybody in. */

import { h } from "../dom.js";
import { formatted, words } from "../words.js";
import { emblem } from "./emblem.js";

/** @import { RunnelClient, RunnelError } from "../../client.js" */

const t = words({
  en: {
    username: "Username",
    password: "Password",
    signIn: "Sign in",
    signInTo: "Sign in to Runnel",
    again: "Sign in again",
    wasOut: "You were signed out. What you wrote is kept.",
    wrong: "That name and password do not go together.",
    wait: "Too many attempts. Try again in {seconds} s.",
    unreachable: "The server cannot be reached.",
    needed: "Write your name and your password.",
    noAccount: "No account yet?",
    make: "Create an account",
    makeTitle: "Create an account",
    haveOne: "I have an account",
    closed: "On this server only its admin can make accounts. Ask them for one.",
    taken: "That name is taken.",
    hint: "First time here? The first admin's name and password were printed by `make run`.",
    asGuest: "Go on as a guest",
  },
  pt: {
    username: "Usuário",
    password: "Senha",
    signIn: "Entrar",
    signInTo: "Entrar no Runnel",
    again: "Entre de novo",
    wasOut: "Sua sessão terminou. O que você escreveu foi guardado.",
    wrong: "Este usuário e esta senha não combinam.",
    wait: "Tentativas demais. Tente de novo em {seconds} s.",
    unreachable: "Não é possível alcançar o servidor.",
    needed: "Escreva seu usuário e sua senha.",
    noAccount: "Ainda sem conta?",
    make: "Criar uma conta",
    makeTitle: "Criar uma conta",
    haveOne: "Já tenho uma conta",
    closed: "Neste servidor só o administrador cria contas. Peça uma a ele.",
    taken: "Este nome já está em uso.",
    hint: "Primeira vez aqui? O nome e a senha do primeiro administrador foram mostrados por `make run`.",
    asGuest: "Continuar como convidado",
  },
});

/**
 * @typedef {object} Arrival
 * @property {(me: any) => void} signedIn
 * @property {boolean} [again] whoever it was is signed out, and the page waits for them
 * @property {(() => void) | null} [asGuest] where nobody has to sign in
 */

export class SignIn {
  #client;
  #arrival;
  #making = false;
  #working = false;
  #title = h("h1", {});
  #note = h("p", { class: "sign-in-note" });
  #fault = h("p", { class: "fault", role: "alert", id: "sign-in-fault" });
  #go = h("button", { class: "button primary", "data-testid": "sign-in" });
  #other = h("button", { type: "button", class: "link", onclick: () => this.#turn(!this.#making) });
  #question = h("span", {});
  #username;
  #password;

  /** @param {RunnelClient} client @param {Arrival} arrival */
  constructor(client, arrival) {
    this.#client = client;
    this.#arrival = arrival;
    const field = { required: true, "aria-describedby": "sign-in-fault", maxlength: 256 };
    this.#username = h("input", {
      ...field,
      name: "username",
      "data-testid": "username",
      autocomplete: "username",
      autocapitalize: "none",
      spellcheck: "false",
    });
    this.#password = h("input", {
      ...field,
      name: "password",
      type: "password",
      "data-testid": "password",
      autocomplete: "current-password",
    });
    const { asGuest } = arrival;
    const form = h(
      "form",
      {
        class: "sign-in-form",
        novalidate: true,
        onsubmit: (/** @type {Event} */ e) => this.#submit(e),
      },
      h("label", { class: "field" }, h("span", {}, t("username")), this.#username),
      h("label", { class: "field" }, h("span", {}, t("password")), this.#password),
      this.#fault,
      this.#go,
    );
    this.element = h(
      "main",
      { class: "sign-in" },
      h(
        "div",
        { class: "sign-in-card" },
        emblem(),
        this.#title,
        this.#note,
        form,
        // As the server has written it into the page.
        document.documentElement.dataset.registration === "open" &&
          h("p", { class: "sign-in-other" }, this.#question, " ", this.#other),
        asGuest && h("button", { type: "button", class: "link", onclick: asGuest }, t("asGuest")),
      ),
      h("p", { class: "sign-in-hint" }, ...withCode(t("hint"))),
    );
    this.#turn(false);
  }

  focus() {
    (this.#username.value ? this.#password : this.#username).focus();
  }

  /** @param {boolean} making an account, instead of signing in */
  #turn(making) {
    this.#making = making;
    const { again = false } = this.#arrival;
    const title = making ? t("makeTitle") : again ? t("again") : t("signInTo");
    this.#title.textContent = title;
    document.title = `${title} · Runnel`;
    this.#note.textContent = again && !making ? t("wasOut") : "";
    this.#go.textContent = making ? t("make") : t("signIn");
    this.#question.textContent = making ? "" : t("noAccount");
    this.#other.textContent = making ? t("haveOne") : t("make");
    this.#password.autocomplete = making ? "new-password" : "current-password";
    this.#fault.textContent = "";
  }

  /** @param {Event} event */
  async #submit(event) {
    event.preventDefault();
    if (this.#working) return;
    const [username, password] = [this.#username.value.trim(), this.#password.value];
    this.#fault.textContent = "";
    if (!username || !password) {
      this.#fault.textContent = t("needed");
      this.focus();
      return;
    }
    this.#work(true);
    try {
      const { signedIn } = this.#arrival;
      if (this.#making) signedIn(await this.#client.register(username, password));
      else signedIn(await this.#client.login(username, password));
    } catch (error) {
      this.#fault.textContent = faultOf(/** @type {RunnelError} */ (error));
      this.#password.select();
      this.#password.focus();
    } finally {
      this.#work(false);
    }
  }

  /** @param {boolean} working */
  #work(working) {
    this.#working = working;
    this.#go.setAttribute("aria-disabled", String(working));
  }
}

/** @param {RunnelError} error */
function faultOf(error) {
  if (error.code === "unauthorized") return t("wrong");
  if (error.code === "network") return t("unreachable");
  if (error.code === "forbidden") return t("closed");
  if (error.code === "conflict") return t("taken");
  if (error.code === "rate_limited") {
    return t("wait", { seconds: formatted(Math.max(1, Math.ceil(error.retryAfter ?? 1))) });
  }
  return error.message;
}

/** What stands between backticks is code. @param {string} text */
function withCode(text) {
  return text.split("`").map((piece, number) => (number % 2 ? h("code", {}, piece) : piece));
}
