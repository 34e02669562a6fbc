// Dates, sizes and lists as people read them, in the page's language.

import { t } from "./i18n.js";

const language = document.documentElement.lang === "en" ? navigator.language : document.documentElement.lang;
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
const dateShort = new Intl.DateTimeFormat(language, { dateStyle: "short" });
const dateLong = new Intl.DateTimeFormat(language, { dateStyle: "long" });
const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" });

/** @param {Date} date @returns {string} e.g. "14:03" */
export const timeOf = (date) => clock.format(date);

/** @param {Date} date @returns {string} e.g. "Sunday, 3 May 2026 at 14:03" */
export const fullDate = (date) => full.format(date);

/** @param {Date} date @returns {string} for the line between two days */
export const dayOf = (date) => dateLong.format(date);

/** @param {Date} date @returns {string} e.g. "Today at 14:03" */
export function stampOf(date) {
  const days = Math.round((midnight(new Date()) - midnight(date)) / 86_400_000);
  if (days === 0) return t("todayAt", { time: timeOf(date) });
  if (days === 1) return t("yesterdayAt", { time: timeOf(date) });
  return `${dateShort.format(date)} ${timeOf(date)}`;
}

const MOMENTS = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};
const STEPS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** @param {Date} date @param {string} style Discord's letter, R for "3 hours ago" @returns {string} */
export function momentOf(date, style) {
  if (style !== "R") return new Intl.DateTimeFormat(language, MOMENTS[style] ?? MOMENTS.f).format(date);
  const seconds = (date.getTime() - Date.now()) / 1000;
  const [unit, length] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? STEPS.at(-1);
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(Math.round(seconds / length), unit);
}

/** @param {Date} a @param {Date} b */
export const sameDay = (a, b) => midnight(a) === midnight(b);

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/** @param {number} bytes @returns {string} e.g. "1.4 MB" */
export function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KB", "MB", "GB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** @param {string} text @returns {string|undefined} a language tag where the script tells it */
export function languageOf(text) {
  if (/[\u3040-\u30ff]/.test(text)) return "ja";
  if (/[\uac00-\ud7af]/.test(text)) return "ko";
  if (/\p{Script=Han}/u.test(text)) return document.documentElement.lang === "zh-Hant" ? "zh-Hant" : "zh-Hans";
  return undefined;
}
