// How members and the bot look: names, drawn avatars, role colours.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { state } from "./state.js";

const HUES = 8;

/** @param {object|undefined} user @returns {string} nickname, display name or user name */
export function nameOf(user) {
  if (!user) return "?";
  return memberOf(user.id)?.nick || user.global_name || user.display_name || user.username || "?";
}

/** @param {string} userId @returns {object|undefined} */
export const memberOf = (userId) => state.guild?.members?.find((member) => member.user?.id === userId);

/** @returns {string} the bot's name, or Inkwell's own while no bot ever came */
export const botName = () => (state.bot.user ? nameOf(state.bot.user) : "Inkwell");

/** @returns {object[]} people that the page may write as */
export const people = () => [...state.users.values()].filter((user) => !user.bot && !user.system);

/** @param {string} userId @returns {object[]} that member's roles, highest first, without @everyone */
export function rolesOf(userId) {
  const ids = memberOf(userId)?.roles ?? [];
  return (state.guild?.roles ?? [])
    .filter((role) => ids.includes(role.id) && role.id !== state.guild.id)
    .sort((a, b) => (b.position ?? 0) - (a.position ?? 0));
}

/** @param {number|null|undefined} color 24-bit @returns {string} "#rrggbb", or "" for none */
export const cssColor = (color) => (color ? `#${color.toString(16).padStart(6, "0")}` : "");

/**
 * @param {object} user
 * @param {string} [size] a class: "small", "large"
 * @returns {HTMLElement} decorative; the name stands beside it
 */
export function avatar(user, size = "") {
  if (user?.bot) {
    return el(
      "span.avatar.mark",
      { class: size, aria: { hidden: true } },
      el("img", { src: "page/inkwell.svg", alt: "" }),
    );
  }
  const name = nameOf(user);
  return el("span.avatar", { class: `${size} hue-${hueOf(user)}`, aria: { hidden: true } }, initials(name));
}

// People of the server get colours in their order, so that no two of the first few look alike.
function hueOf(user) {
  const at = [...state.users.keys()].indexOf(user?.id);
  return Math.max(at, 0) % HUES;
}

function initials(name) {
  const words = name
    .trim()
    .split(/[\s\-_.]+/)
    .filter(Boolean);
  if (!words.length) return "?";
  const first = [...words[0]];
  if (/\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}/u.test(first[0]))
    return first[first.length - 1];
  return (first[0] + (words.length > 1 ? [...words[words.length - 1]][0] : "")).toUpperCase();
}

/** @param {object} user @returns {HTMLElement} the name as a button that opens that member's menu */
export function nameButton(user, className = "author") {
  const node = el(`button.${className}`, { type: "button", data: { user: user.id } }, nameOf(user));
  const color = cssColor(rolesOf(user.id).find((role) => role.color)?.color);
  if (color) node.style.setProperty("--role", color);
  return node;
}

/** @returns {HTMLElement} */
export const botTag = () => el("span.bot-tag", {}, t("bot"));
