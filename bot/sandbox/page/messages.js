// The open channel's message list: days, groups, live changes, older pages, and the jump back to the present.

import { $, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, on, emit, logOf, currentChannel, isThread, isDm, may, messageOf, Permission } from "./state.js";
import { loadOlder, readCurrent } from "./session.js";
import { followBottom } from "./scroll.js";
import { renderMessage, updateMessage, authorOf, hasContext, isEphemeral, isThinking } from "./message.js";
import { nameOf } from "./people.js";
import { wordsOf } from "./markup.js";
import { dayOf, sameDay, languageOf } from "./format.js";
import { titleOf } from "./sidebar.js";

const GROUP_MS = 7 * 60_000; // messages of one author within so long stand under one head
const OLDER_AT_PX = 300;
const DISMISSED = "inkwell.dismissed";
const MOST_DISMISSED = 200;

const nodes = new Map(); // message id -> article
const dismissed = new Set(readDismissed());
let follow = null;
let pill = null;
let missed = 0;

/** Draws the list and keeps it current. */
export function mountMessages() {
  const scroller = $("#scroller");
  const list = $("#list");
  list.setAttribute("role", "group");
  follow = followBottom(scroller, [list, $("#tail")]);
  pill = el("button.pill", { type: "button", hidden: true, on: { click: () => follow.toBottom(true) } });
  $("#main").insertBefore(el("div.pill-place", {}, pill), $("#composer"));
  follow.onMove(drawPill);
  scroller.addEventListener(
    "scroll",
    () => {
      if (scroller.scrollTop < OLDER_AT_PX) older();
    },
    { passive: true },
  );
  list.addEventListener("keydown", roam);
  list.addEventListener("settled", (event) => announceSettled(event.target.dataset.id));

  on("channel", (id) => {
    missed = 0;
    nodes.clear();
    fill($("#announcer")); // what one member heard is not for the next
    fill(list);
    list.setAttribute("aria-label", id ? t("messagesIn", { name: titleOf(currentChannel()) }) : "");
    rebuild();
    follow.toBottom();
    if (scroller.scrollHeight <= scroller.clientHeight) older();
  });
  on("channel:loading", () => {
    nodes.clear();
    fill(list, skeleton());
  });
  on("older", () => follow.steady(rebuild));
  on("resync", () => follow.steady(rebuild));
  on("message:create", (message) => {
    const follows = follow.pinned();
    if (message.author.id === state.me.id) follow.toBottom();
    follow.steady(rebuild);
    if (!follows && message.author.id !== state.me.id) missed += 1;
    drawPill();
    announce(message);
  });
  on("message:update", (message) =>
    follow.steady(() => {
      const node = nodes.get(message.id);
      if (node) updateMessage(node, message, { compact: node.classList.contains("compact"), edited: true });
    }),
  );
  on("message:delete", () => follow.steady(rebuild));
  on("commands", () => follow.steady(rebuild));
  document.addEventListener("visibilitychange", () => document.hidden || readCurrent());
}

/** Makes the list's nodes those of the log, reusing what is there. */
function rebuild() {
  const list = $("#list");
  const channel = currentChannel();
  if (!channel) {
    fill(list, el("div.intro", {}, el("p", {}, t("noChannel", { name: nameOf(state.me) }))));
    return;
  }
  const log = logOf(channel.id);
  const wanted = [log.complete ? intro(channel) : el("div.loading-older", { role: "status" }, t("loadingOlder"))];
  const seen = new Set();
  let previous = null;
  for (const message of log.messages) {
    if (dismissed.has(message.id)) continue;
    const date = new Date(message.timestamp);
    const newDay = !previous || !sameDay(date, new Date(previous.timestamp));
    if (newDay) wanted.push(dayLine(date, message.id));
    const compact = !newDay && continues(previous, message);
    let node = nodes.get(message.id);
    if (node) updateMessage(node, message, { compact });
    else nodes.set(message.id, (node = renderMessage(message, { compact })));
    wanted.push(node);
    seen.add(message.id);
    previous = message;
  }
  for (const id of [...nodes.keys()]) if (!seen.has(id)) nodes.delete(id);
  arrange(list, wanted);
  [...list.querySelectorAll(":scope > .message")].forEach((node, index, all) => {
    node.tabIndex = index === all.length - 1 ? 0 : -1; // Tab reaches the newest message, arrows go on from there
  });
}

/** Puts nodes in order; those in place already are not moved, so that their focus and selection stay. */
function arrange(list, wanted) {
  const keep = new Set(wanted);
  for (const child of [...list.children]) if (!keep.has(child) && !twin(child, wanted)) child.remove();
  wanted.forEach((node, index) => {
    const have = list.children[index];
    if (have === node || (have && have.dataset.line && have.dataset.line === node.dataset.line)) return;
    list.insertBefore(node, have ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
}

const twin = (child, wanted) => child.dataset.line && wanted.some((node) => node.dataset.line === child.dataset.line);

function continues(previous, message) {
  return (
    Boolean(previous) &&
    authorOf(previous).id === authorOf(message).id &&
    !hasContext(message) &&
    message.type !== 18 &&
    isEphemeral(previous) === isEphemeral(message) &&
    new Date(message.timestamp) - new Date(previous.timestamp) < GROUP_MS
  );
}

function dayLine(date, id) {
  return el("div.day", { role: "separator", data: { line: `day-${id}` } }, el("span", {}, dayOf(date)));
}

function intro(channel) {
  const name = titleOf(channel);
  const [title, note] = isDm(channel)
    ? ["welcomeDm", "beginDm"]
    : isThread(channel)
      ? ["welcomeThread", "beginThread"]
      : ["welcomeChannel", "beginChannel"];
  const commands = may(channel, Permission.COMMANDS) ? exampleCommand() : null;
  return el(
    "div.intro",
    { data: { line: `intro-${channel.id}-${commands ?? ""}` } },
    el("img.intro-mark", { src: "page/inkwell.svg", alt: "" }),
    el("h2", {}, t(title, { name })),
    el("img.flourish", { src: "page/flourish.svg", alt: "" }),
    el("p", {}, t(note)),
    commands ? el("p.begin", {}, beginHint(commands)) : null,
  );
}

function beginHint(command) {
  const [before, after] = t("beginHint", { command: "\u0000" }).split("\u0000");
  return [
    before,
    el("button.command-chip", { type: "button", on: { click: () => emit("composer:insert", command) } }, command),
    after,
  ];
}

function exampleCommand() {
  const names = state.commands.filter((command) => (command.type ?? 1) === 1).map((command) => command.name);
  const first = names.includes("story") ? "story" : names[0];
  return first ? `/${first}` : null;
}

function skeleton() {
  return el(
    "div.skeleton",
    { aria: { hidden: true } },
    [60, 82, 46, 74, 58].map((_, index) => el("div.bone", { class: `bone-${index}` }, el("i"), el("b"), el("b"))),
  );
}

async function older() {
  await loadOlder();
}

function drawPill() {
  const away = !follow.pinned();
  if (!away) missed = 0;
  pill.hidden = !away;
  fill(pill, missed ? `${t("newMessages")} (${missed})` : t("jumpToPresent"), icon("arrowDown"));
}

/** Hides an ephemeral message for good. @param {string} id */
export function dismiss(id) {
  dismissed.add(id);
  try {
    localStorage.setItem(DISMISSED, JSON.stringify([...dismissed].slice(-MOST_DISMISSED)));
  } catch {
    // Without storage the message comes back after a reload.
  }
  follow.steady(rebuild);
}

function readDismissed() {
  try {
    return JSON.parse(localStorage.getItem(DISMISSED) ?? "[]");
  } catch {
    return [];
  }
}

/** Scrolls to a message and lights it up. @param {string} id */
export function jumpTo(id) {
  const node = nodes.get(id);
  if (!node) return;
  node.scrollIntoView({ block: "center" });
  node.classList.remove("lit");
  void node.offsetWidth; // restarts the animation
  node.classList.add("lit");
  node.focus({ preventScroll: true });
}

/** @param {string} id @returns {HTMLElement|undefined} */
export const nodeOf = (id) => nodes.get(id);

function roam(event) {
  const node = event.target.closest(".message");
  if (!node || event.target !== node) return;
  const all = [...$("#list").querySelectorAll(":scope > .message")];
  const at = all.indexOf(node);
  const next = { ArrowUp: all[at - 1], ArrowDown: all[at + 1], Home: all[0], End: all[all.length - 1] }[event.key];
  if (next) {
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  } else if (event.key === "ArrowDown" || event.key === "Escape") {
    event.preventDefault();
    emit("composer:focus");
  }
}

function announce(message) {
  if (message.author.id === state.me.id || isThinking(message)) return;
  say(message);
}

function announceSettled(id) {
  const message = state.current && messageOf(state.current, id);
  if (message) say(message);
}

// A screen reader hears a new message once, and a streamed one again when it has come to rest: not every edit.
function say(message) {
  const text = wordsOf(message.html ?? "") || t("attachmentOnly");
  const line = el("p", { lang: languageOf(text) }, t("said", { name: nameOf(authorOf(message)), text }));
  const place = $("#announcer");
  place.append(line);
  while (place.children.length > 5) place.firstElementChild.remove();
}
