// Whether what was typed for a command's option can be sent, as a value or as a sentence that says what is wrong.

import { t, localName } from "./i18n.js";
import { OptionType } from "./commands.js";
import { booleanChoices, channelChoices, listedChoices, roleChoices, userChoices } from "./choices.js";

const MOST_STRING = 6000; // Discord's limit on a slash command's string
const SAFE_INTEGER = 2 ** 53;

/**
 * @param {object} option
 * @returns {import("./choices.js").Choice[]|null} what it can be picked from, null for free entry
 */
export function choicesFor(option) {
  if (option.choices?.length) return listedChoices(option.choices);
  switch (option.type) {
    case OptionType.BOOLEAN:
      return booleanChoices();
    case OptionType.USER:
      return userChoices();
    case OptionType.CHANNEL:
      return channelChoices(option.channel_types);
    case OptionType.ROLE:
      return roleChoices();
    case OptionType.MENTIONABLE:
      return [...userChoices(), ...roleChoices()];
    default:
      return null;
  }
}

/**
 * @param {object} option Discord's description of it
 * @param {{text: string, picked: import("./choices.js").Choice|null, file: File|null}} entered
 * @returns {{value?: any, problem?: string}} neither where an optional one was left empty
 */
export function valueOf(option, { text, picked, file }) {
  const name = localName(option);
  if (option.type === OptionType.ATTACHMENT) {
    if (file) return { value: file };
    return option.required ? { problem: t("needFile", { name }) } : {};
  }
  const typed = text.trim();
  if (!typed) return option.required ? { problem: t("needOption", { name }) } : {};
  if (picked && picked.name === text) return { value: picked.value };
  const choices = choicesFor(option);
  if (choices) {
    const wanted = typed.replace(/^[@#]/, "").toLowerCase();
    const found = choices.find((choice) =>
      [choice.name, choice.plain, choice.description].some(
        (entry) => entry?.replace(/^@/, "").toLowerCase() === wanted,
      ),
    );
    return found ? { value: found.value } : { problem: t(NEEDS[option.type] ?? "needChoice", { name }) };
  }
  if (option.type === OptionType.INTEGER || option.type === OptionType.NUMBER) return numberOf(option, typed, name);
  const count = [...text].length;
  const least = option.min_length ?? 0;
  const most = Math.min(option.max_length ?? MOST_STRING, MOST_STRING);
  if (count < least) return { problem: t("needLonger", { name, min: least, count }) };
  if (count > most) return { problem: t("needShorter", { name, max: most, count }) };
  return { value: text };
}

const NEEDS = {
  [OptionType.USER]: "needUser",
  [OptionType.MENTIONABLE]: "needUser",
  [OptionType.CHANNEL]: "needChannel",
  [OptionType.ROLE]: "needRole",
};

function numberOf(option, typed, name) {
  const whole = option.type === OptionType.INTEGER;
  const value = Number(typed.replace(/[\s_]/g, ""));
  if (!Number.isFinite(value) || (whole && (!Number.isInteger(value) || Math.abs(value) > SAFE_INTEGER))) {
    return { problem: t(whole ? "needInteger" : "needNumber", { name }) };
  }
  if (option.min_value !== undefined && option.min_value !== null && value < option.min_value)
    return { problem: t("needAtLeast", { name, min: option.min_value }) };
  if (option.max_value !== undefined && option.max_value !== null && value > option.max_value)
    return { problem: t("needAtMost", { name, max: option.max_value }) };
  return { value };
}

/** @param {object} option @returns {string} e.g. "whole number · 0 – 100" */
export function typeNote(option) {
  const kind = t(TYPES[option.type] ?? "typeString");
  const low = option.min_value ?? null;
  const high = option.max_value ?? null;
  if (low !== null && high !== null) return `${kind} · ${low} – ${high}`;
  if (low !== null) return `${kind} · ≥ ${low}`;
  return high === null ? kind : `${kind} · ≤ ${high}`;
}

const TYPES = {
  3: "typeString",
  4: "typeInteger",
  5: "typeBoolean",
  6: "typeUser",
  7: "typeChannel",
  8: "typeRole",
  9: "typeMentionable",
  10: "typeNumber",
  11: "typeAttachment",
};
