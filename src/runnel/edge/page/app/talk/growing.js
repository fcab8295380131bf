/** A text field as high as what stands in it; style/talk.css says how high at most. */

/** @param {HTMLTextAreaElement} field */
export function fit(field) {
  if (!field.isConnected) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
}
