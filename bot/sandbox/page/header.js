// The bar above the messages (where one is, what it is for) and the list of members on the right.

import { $, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, on, emit, currentChannel, isThread, isDm, channelOf } from "./state.js";
import { avatar, botName, botTag, nameOf, people, rolesOf, cssColor } from "./people.js";
import { iconOf, titleOf, presence } from "./sidebar.js";
import { theme, nextTheme } from "./theme.js";

const THEMES = { auto: ["auto", "themeAuto"], light: ["sun", "themeLight"], dark: ["moon", "themeDark"] };

/** Draws both and keeps them current. */
export function mountHeader() {
  const place = el("div.place");
  const menu = iconButton("menu", t("channelMenu"), () => emit("drawer"), "only-narrow");
  const memberToggle = iconButton("people", t("toggleMembers"), toggleMembers, "members-toggle");
  const themeButton = iconButton(
    "auto",
    "",
    () => {
      nextTheme();
      drawTheme();
    },
    "theme-toggle",
  );
  const drawTheme = () => {
    const [name, key] = THEMES[theme()];
    fill(themeButton, icon(name));
    themeButton.title = t(key);
    themeButton.setAttribute("aria-label", t(key));
  };
  drawTheme();
  fill($("#header"), menu, place, el("div.header-tools", {}, themeButton, memberToggle));
  const drawPlace = () => fill(place, ...placeParts());
  for (const topic of ["world", "resync", "channel", "channel:loading", "channels", "bot"]) on(topic, drawPlace);

  const panel = $("#members");
  panel.setAttribute("aria-label", t("members"));
  const drawMembers = () => fill(panel, ...memberParts());
  for (const topic of ["world", "bot"]) on(topic, drawMembers);
  for (const topic of ["channel", "unread", "world"]) on(topic, drawTitle);
}

function iconButton(name, label, click, className = "") {
  return el(
    "button.icon-button",
    { type: "button", class: className, title: label, aria: { label }, on: { click } },
    icon(name),
  );
}

function toggleMembers() {
  // Wide screens start with the list shown, narrow ones with it hidden: the class means "other than at the start".
  document.body.classList.toggle("members-other");
}

function placeParts() {
  const channel = currentChannel();
  if (!channel) return [];
  const parent = isThread(channel) ? channelOf(channel.parent_id) : null;
  const note = parent ? t("threadIn", { name: parent.name }) : isDm(channel) ? "" : channel.topic;
  return [
    icon(iconOf(channel), "place-icon"),
    el("h1", {}, titleOf(channel)),
    note ? el("span.topic", { title: note }, note) : null,
  ];
}

function drawTitle() {
  const unread = [...state.unread.values()].reduce((sum, count) => sum + count, 0);
  const channel = currentChannel();
  const place = channel ? `${isDm(channel) ? "@" : "#"}${titleOf(channel)} · ` : "";
  document.title = `${unread ? `(${unread}) ` : ""}${place}Inkwell`;
}

function memberParts() {
  const bot = state.bot.user;
  return [
    group(t("members"), people()),
    bot
      ? group(t("apps"), [bot])
      : el("section.member-group", {}, el("h2", {}, t("apps")), el("p.none", {}, `${botName()}: ${t("offline")}`)),
  ];
}

function group(title, users) {
  return el(
    "section.member-group",
    {},
    el("h2", {}, `${title} · ${users.length}`),
    el(
      "ul",
      {},
      users.map((user) => {
        const roles = rolesOf(user.id);
        const name = el("span.member-name", {}, nameOf(user));
        const color = cssColor(roles.find((role) => role.color)?.color);
        if (color) name.style.setProperty("--role", color);
        const away = user.bot && !state.bot.online;
        return el(
          "li",
          {},
          el(
            "button.member",
            { type: "button", class: away ? "away" : "", data: { user: user.id }, aria: { haspopup: "menu" } },
            presence(user, avatar(user, "small")),
            el(
              "span.member-words",
              {},
              el("span.member-line", {}, name, user.bot ? botTag() : null),
              el(
                "span.member-note",
                {},
                user.bot
                  ? t(state.bot.online ? "online" : "offline")
                  : roles.map((role) => role.name).join(", ") || `@${user.username}`,
              ),
            ),
          ),
        );
      }),
    ),
  );
}
