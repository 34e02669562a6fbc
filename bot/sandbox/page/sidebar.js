// The left side: the server's channels, threads and DMs, and the switch between the members one may write as.

import { $, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, on, emit, isThread, isDm, compareIds, ChannelType, Permission } from "./state.js";
import { channelsInOrder, sitDown, openChannel } from "./session.js";
import { avatar, nameOf, people, rolesOf } from "./people.js";
import { postChannel } from "./api.js";
import { openMenu } from "./menus.js";

/** @param {object} channel @returns {string} the name of its icon */
export function iconOf(channel) {
  if (isThread(channel)) return "thread";
  if (isDm(channel)) return "at";
  const forAll = channel?.permission_overwrites?.find((entry) => entry.id === channel.guild_id);
  const denied = BigInt(forAll?.deny ?? 0);
  if (denied & Permission.VIEW) return "lock";
  return channel?.type === ChannelType.NEWS || denied & Permission.SEND ? "megaphone" : "hash";
}

/** @param {object} channel @returns {object|undefined} whom a DM is with */
export const partnerOf = (channel) => {
  const other = channel?.recipients?.find((user) => user.id !== state.me?.id) ?? channel?.recipients?.[0];
  return other && (state.users.get(other.id) ?? other);
};

/** @param {object} channel @returns {string} its name for people */
export const titleOf = (channel) => (isDm(channel) ? nameOf(partnerOf(channel)) : (channel?.name ?? ""));

/** Draws the sidebar whenever what it shows changes. */
export function mountSidebar() {
  const nav = $("#sidebar");
  nav.setAttribute("aria-label", t("channels"));
  const list = el("div.channels");
  const switcher = el("section.switcher", { aria: { label: t("members") } });
  fill(nav, brand(), list, switcher);
  const drawList = () => fill(list, serverPart(), dmPart());
  const drawSwitcher = () => fill(switcher, ...switcherParts());
  const draw = () => {
    nav.querySelector(".guild-name").textContent = state.guild?.name ?? "Inkwell";
    drawList();
    drawSwitcher();
  };
  for (const topic of ["world", "channel", "channel:loading", "channels", "unread"]) on(topic, draw);
  on("connection", drawSwitcher);
  on("bot", drawList);
  on("channel", closeDrawer);
  on("drawer", () => (document.body.classList.contains("drawer") ? closeDrawer() : openDrawer()));
  $("#scrim").addEventListener("click", closeDrawer);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("drawer")) closeDrawer();
  });
}

function brand() {
  return el(
    "div.brand",
    {},
    el("img.brand-mark", { src: "page/inkwell.svg", alt: "" }),
    el("div.brand-words", {}, el("strong.guild-name", {}, "Inkwell"), el("span.brand-note", {}, t("sandbox"))),
  );
}

function serverPart() {
  const channels = channelsInOrder();
  const categories = [...state.channels.values()].filter((channel) => channel.type === ChannelType.CATEGORY);
  const loose = channels.filter((channel) => !categories.some((category) => category.id === channel.parent_id));
  return [
    loose.length ? section(t("channels"), loose.map(withThreads)) : null,
    categories.map((category) =>
      section(category.name, channels.filter((channel) => channel.parent_id === category.id).map(withThreads)),
    ),
  ];
}

function withThreads(channel) {
  const threads = [...state.channels.values()]
    .filter((entry) => isThread(entry) && entry.parent_id === channel.id && !entry.thread_metadata?.archived)
    .sort((a, b) => compareIds(a.id, b.id));
  return [row(channel), threads.length ? el("ul.threads", { aria: { label: t("threads") } }, threads.map(row)) : null];
}

function dmPart() {
  const dms = [...state.channels.values()]
    .filter(isDm)
    .sort((a, b) => compareIds(b.last_message_id ?? b.id, a.last_message_id ?? a.id));
  const button = el(
    "button.icon-button.small",
    {
      type: "button",
      title: t("newDm"),
      aria: { label: t("newDm"), haspopup: "menu" },
      on: { click: () => newDm(button) },
    },
    icon("plus"),
  );
  return section(t("directMessages"), dms.length ? dms.map(row) : el("li.none", {}, t("noDms")), button);
}

function section(title, rows, extra = null) {
  return el("section.channel-group", {}, el("h2", {}, el("span", {}, title), extra), el("ul", {}, rows));
}

function row(channel) {
  const unread = state.unread.get(channel.id) ?? 0;
  const open = channel.id === state.current;
  const partner = isDm(channel) ? partnerOf(channel) : null;
  return el(
    "li",
    {},
    el(
      "a.channel",
      {
        href: `#${channel.id}`,
        class: `${open ? "open" : ""} ${unread ? "unread" : ""}`,
        data: { channel: channel.id },
        aria: { current: open ? "page" : null },
        on: {
          click: (event) => {
            event.preventDefault();
            openChannel(channel.id);
            closeDrawer();
          },
        },
      },
      partner ? presence(partner, avatar(partner, "tiny")) : icon(iconOf(channel)),
      el("span.channel-name", {}, titleOf(channel)),
      unread ? el("span.count", { aria: { label: `${unread} ${t("unread")}` } }, unread > 99 ? "99+" : unread) : null,
    ),
  );
}

/** @param {object} user @param {HTMLElement} picture @returns {HTMLElement} the picture with a dot: here or away */
export function presence(user, picture) {
  const online = user.bot ? state.bot.online : true;
  return el(
    "span.presence",
    { class: online ? "online" : "offline", title: t(online ? "online" : "offline") },
    picture,
  );
}

async function newDm(anchor) {
  const others = [...state.users.values()].filter((user) => user.id !== state.me.id);
  openMenu(
    anchor,
    t("newDm"),
    others.map((user) => ({ label: nameOf(user), picture: avatar(user, "tiny"), act: () => openDm(user.id) })),
  );
}

/** Opens the DM with a user, made when there is none. @param {string} userId */
export async function openDm(userId) {
  try {
    const channel = await postChannel({ as: state.me.id, type: ChannelType.DM, recipient: userId });
    state.channels.set(channel.id, { ...state.channels.get(channel.id), ...channel });
    emit("channels");
    await openChannel(channel.id);
  } catch (error) {
    emit("notice", { text: error.message, kind: "problem" });
  }
}

function switcherParts() {
  const me = state.me;
  const [before, after] = t("writingAs", { name: "\u0000" }).split("\u0000");
  return [
    el("h2.switcher-title", { id: "switcher-title" }, before, el("strong", {}, me ? nameOf(me) : ""), after),
    el(
      "div.switch",
      { role: "radiogroup", aria: { labelledby: "switcher-title" }, on: { keydown: roam } },
      people().map((user) => {
        const mine = user.id === me?.id;
        const label = t("switchTo", { name: nameOf(user), part: partOf(user) });
        return el(
          "button.switch-to",
          {
            type: "button",
            role: "radio",
            data: { member: user.id },
            tabindex: mine ? 0 : -1,
            title: label,
            aria: { checked: mine, label },
            on: { click: () => mine || switchMember(user.id) },
          },
          avatar(user, "small"),
          el("span.switch-name", {}, nameOf(user)),
          el("span.switch-part", {}, partOf(user)),
        );
      }),
    ),
  ];
}

const PARTS = { writer: "partWriter", "co-author": "partCoAuthor", admin: "partAdmin" };

function partOf(user) {
  if (PARTS[user.part]) return t(PARTS[user.part]);
  return (
    rolesOf(user.id)
      .map((role) => role.name)
      .join(", ") || `@${user.username}`
  );
}

function switchMember(id) {
  sitDown(id);
  const button = document.querySelector(`.switch-to[data-member="${CSS.escape(id)}"]`);
  button?.focus();
}

function roam(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = [...event.currentTarget.children];
  const at = buttons.indexOf(document.activeElement);
  const next = buttons[(at + step + buttons.length) % buttons.length];
  switchMember(next.dataset.member);
}

function openDrawer() {
  document.body.classList.add("drawer");
  $("#scrim").hidden = false;
  $("#sidebar").querySelector(".channel.open, .channel")?.focus();
}

/** Puts the narrow screen's drawer away. */
export function closeDrawer() {
  document.body.classList.remove("drawer");
  $("#scrim").hidden = true;
}
