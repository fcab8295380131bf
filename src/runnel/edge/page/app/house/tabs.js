/** What the tabs of one user tell each other: that the list of sessions is not what it was. */

export class Tabs {
  #channel;

  /** @param {string} userId @param {() => void} changed it was told by another tab */
  constructor(userId, changed) {
    this.#channel = new BroadcastChannel(`runnel.sessions.${userId}`);
    this.#channel.addEventListener("message", changed);
  }

  tell() {
    this.#channel.postMessage("changed");
  }

  leave() {
    this.#channel.close();
  }
}
