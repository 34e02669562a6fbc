// The page's own words in the reader's language; the bot's words arrive translated by Discord's rules.

import { en } from "./strings-en.js";
import { zh } from "./strings-zh.js";
import { zhTw } from "./strings-zh-tw.js";

/** The browser's language as Discord spells it, e.g. "en-US", "zh-CN". */
export const locale = discordLocale(navigator.language || "en-US");
const [words, lang] = { "zh-CN": [zh, "zh-Hans"], "zh-TW": [zhTw, "zh-Hant"] }[locale] ?? [en, "en"];

document.documentElement.lang = lang;

/**
 * @param {keyof typeof en} key
 * @param {Object<string, string|number>} [vars] fill `{name}` in the sentence
 * @returns {string}
 */
export function t(key, vars = {}) {
  const sentence = words[key] ?? en[key];
  if (sentence === undefined) throw new Error(`no such string: ${key}`);
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in vars ? String(vars[name]) : whole));
}

/**
 * @param {{name: string, name_localizations?: Object<string, string>|null}} thing a command, option or choice
 * @returns {string} its name in the reader's language, where the bot gave one
 */
export function localName(thing) {
  return localised(thing.name, thing.name_localizations);
}

/** @param {{description?: string, description_localizations?: Object<string, string>|null}} thing */
export function localDescription(thing) {
  return localised(thing.description ?? "", thing.description_localizations);
}

function localised(plain, table) {
  if (!table) return plain;
  if (table[locale]) return table[locale];
  const language = locale.split("-")[0];
  const near = Object.keys(table).find((key) => key.split("-")[0] === language);
  return near ? table[near] : plain;
}

function discordLocale(tag) {
  const lower = tag.toLowerCase();
  if (lower.startsWith("zh-hans")) return "zh-CN"; // in Hong Kong and Macau too
  if (lower.startsWith("zh")) return /hant|tw|hk|mo/.test(lower) ? "zh-TW" : "zh-CN";
  if (lower === "en-gb") return "en-GB";
  if (lower.startsWith("en")) return "en-US";
  return tag;
}
