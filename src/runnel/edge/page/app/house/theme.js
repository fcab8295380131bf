/** Dark or light: as the system has it, or as was chosen. */

/** @typedef {"system" | "light" | "dark"} Theme */

/** @type {Theme[]} */
export const THEMES = ["system", "light", "dark"];

const KEY = "runnel.theme";

/** @returns {Theme} */
export function chosenTheme() {
  const kept = localStorage.getItem(KEY);
  return THEMES.find((theme) => theme === kept) ?? "system";
}

/** @param {Theme} theme */
export function chooseTheme(theme) {
  localStorage.setItem(KEY, theme);
  showTheme();
}

/** Shows what was chosen, here or in another tab. */
export function showTheme() {
  const theme = chosenTheme();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

showTheme();
addEventListener("storage", (event) => {
  if (event.key === KEY) showTheme();
});
