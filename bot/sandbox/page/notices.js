// What the page says about itself: the hint about the sandbox, the connection, the bot's absence, short notices.

import { $, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, on } from "./state.js";
import { botName } from "./people.js";

const HINT = "inkwell.hint";
const NOTICE_MS = 4500;
const PATIENCE_MS = 600; // a connection this quick is not worth a word

/** Draws the bars above the page and listens for notices. */
export function mountNotices() {
  const hint = el(
    "div.banner.hint",
    {},
    icon("pen"),
    el("span", {}, t("hint")),
    el(
      "button.icon-button.small",
      {
        type: "button",
        title: t("dismissHint"),
        aria: { label: t("dismissHint") },
        on: {
          click: () => {
            hint.remove();
            store(HINT, "seen");
          },
        },
      },
      icon("close"),
    ),
  );
  const connection = el("div.banner.warning", { role: "status", hidden: true });
  const bot = el("div.banner.quiet", { role: "status", hidden: true });
  const failure = el("div.banner.danger", { role: "alert", hidden: true });
  fill($("#banners"), read(HINT) ? null : hint, failure, connection, bot);

  let was = null;
  let timer = 0;
  on("connection", (now) => {
    clearTimeout(timer);
    document.body.classList.toggle("cut-off", now === "lost");
    if (now === "open") {
      connection.hidden = true;
      failure.hidden = true;
      if (was === "lost") notice({ text: t("reconnected") });
    } else {
      timer = setTimeout(() => {
        fill(
          connection,
          el("span.spinner.still", { aria: { hidden: true } }),
          el("span", {}, t(now === "lost" ? "reconnecting" : "connecting")),
        );
        connection.hidden = false;
      }, PATIENCE_MS);
    }
    was = now;
  });
  const drawBot = () => {
    bot.hidden = state.bot.online || state.connection === "lost";
    fill(bot, icon("moon"), el("span", {}, t("botOffline", { name: botName() })));
  };
  on("bot", drawBot);
  on("world", drawBot);
  on("failure", (error) => {
    fill(
      failure,
      icon("warning"),
      el("span", {}, t("loadFailed", { reason: error.message })),
      el("button.link", { type: "button", on: { click: () => location.reload() } }, t("tryAgain")),
    );
    failure.hidden = false;
  });
  on("notice", notice);
}

function notice({ text, kind = "" }) {
  const node = el("div.notice", { class: kind }, icon(kind === "problem" ? "warning" : "check"), el("span", {}, text));
  $("#notices").append(node);
  setTimeout(() => node.remove(), NOTICE_MS);
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage may be switched off; the hint then returns on reload.
  }
}
