// Light, dark or the system's choice of colours, remembered in this browser.

const KEY = "inkwell.theme";
const ORDER = ["auto", "light", "dark"];

/** @returns {"auto"|"light"|"dark"} */
export function theme() {
  const stored = read();
  return ORDER.includes(stored) ? stored : "auto";
}

/** Goes to the next of auto, light and dark. @returns {"auto"|"light"|"dark"} the new one */
export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length];
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Storage may be switched off; the choice then lasts until reload.
  }
  apply(next);
  return next;
}

function read() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function apply(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

apply(theme());
