// What can be chosen in selects and command options: members, roles, channels, booleans, listed choices.

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { t, localName } from "./i18n.js";
import { state } from "./state.js";
import { avatar, botTag, nameOf, cssColor } from "./people.js";
import { channelsInOrder } from "./session.js";
import { iconOf, titleOf } from "./sidebar.js";
import { isThread } from "./state.js";

/**
 * @typedef {object} Choice
 * @property {string|number|boolean} value what is sent
 * @property {string} name what is shown and searched
 * @property {string} [description]
 * @property {() => any} [picture]
 * @property {any} [tag]
 */

/** @returns {Choice[]} */
export function userChoices() {
  return [...state.users.values()]
    .filter((user) => !user.system)
    .map((user) => ({
      value: user.id,
      name: nameOf(user),
      description: `@${user.username}`,
      picture: () => avatar(user, "tiny"),
      tag: user.bot ? botTag : null,
    }));
}

/** @returns {Choice[]} */
export function roleChoices() {
  return (state.guild?.roles ?? [])
    .filter((role) => role.id !== state.guild.id)
    .map((role) => ({
      value: role.id,
      name: role.name,
      picture: () => roleDot(role),
    }));
}

function roleDot(role) {
  const dot = el("span.role-dot", { aria: { hidden: true } });
  const color = cssColor(role.color);
  if (color) dot.style.setProperty("--role", color);
  return dot;
}

/** @param {number[]|undefined} types only channels of these types @returns {Choice[]} */
export function channelChoices(types) {
  const threads = [...state.channels.values()].filter(isThread);
  return [...channelsInOrder(), ...threads]
    .filter((channel) => !types?.length || types.includes(channel.type))
    .map((channel) => ({
      value: channel.id,
      name: titleOf(channel),
      picture: () => icon(iconOf(channel)),
    }));
}

/** @returns {Choice[]} */
export const booleanChoices = () => [
  { value: true, name: t("yes") },
  { value: false, name: t("no") },
];

/** @param {object[]} listed Discord's choices of an option @returns {Choice[]} */
export const listedChoices = (listed) =>
  listed.map((choice) => ({ value: choice.value, name: localName(choice), plain: choice.name }));

/** @param {Choice} choice @returns {any[]} the inside of a list entry */
export function drawChoice(choice) {
  return [
    choice.picture ? el("span.option-picture", {}, choice.picture()) : null,
    el(
      "span.option-words",
      {},
      el("span.option-name", {}, choice.name, choice.tag ? choice.tag() : null),
      choice.description ? el("span.option-note", {}, choice.description) : null,
    ),
  ];
}

/** Entries that a query finds, those that begin with it first. @param {Choice[]} choices @param {string} query */
export function search(choices, query) {
  const wanted = query.trim().replace(/^[@#]/, "").toLowerCase();
  if (!wanted) return choices;
  const rank = (choice) => {
    const name = choice.name.toLowerCase();
    if (name.startsWith(wanted)) return 0;
    return name.includes(wanted) || (choice.description ?? "").toLowerCase().includes(wanted) ? 1 : 2;
  };
  return choices
    .map((choice) => [rank(choice), choice])
    .filter(([at]) => at < 2)
    .sort(([a], [b]) => a - b)
    .map(([, choice]) => choice);
}
