/** Where one is, as the address says: `?session=ID`, `?view=admin`, or a new session. */

/** @typedef {{ session: string | null, view: "admin" | null }} Place */

/** @type {Place} */
export const NEW = { session: null, view: null };

/** @returns {Place} */
export function here() {
  const query = new URLSearchParams(location.search);
  return {
    session: query.get("session") || null,
    view: query.get("view") === "admin" ? "admin" : null,
  };
}

/** @param {Place} place */
export function addressOf({ session, view }) {
  const query = new URLSearchParams();
  if (view) query.set("view", view);
  else if (session) query.set("session", session);
  return query.size ? `${location.pathname}?${query}` : location.pathname;
}

/** Goes there; the browser's Back leads to where one was. @param {Place} place */
export function go(place) {
  const address = addressOf(place);
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
}

/** Says where one is by another address. @param {Place} place */
export function rename(place) {
  history.replaceState(null, "", addressOf(place));
}
