// Commands on their way: a line at the end of the channel until the bot answers, or the sentence that it did not.

import { $, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, on } from "./state.js";
import { interact, InteractionType } from "./interactions.js";
import { avatar, nameOf, botName } from "./people.js";
import { inkDots } from "./message.js";
import { dataOf } from "./commands.js";

const SLOW_MS = 350; // quicker answers need no line

/**
 * @param {import("./commands.js").Entry} entry
 * @param {object[]} values
 * @param {File[]} files
 */
export function sendCommand(entry, values, files) {
  send(
    `/${entry.path}`,
    dataOf(
      entry,
      values,
      files.map((file) => file.name),
    ),
    files,
  );
}

/** @param {object} command a message or member command @param {string} target the id it was used on */
export function sendMenuCommand(command, target) {
  send(command.name, { id: command.id, name: command.name, type: command.type, target_id: target }, []);
}

async function send(title, data, files) {
  const line = el(
    "div.sending",
    { data: { channel: state.current }, role: "status", hidden: true },
    avatar(state.me, "tiny"),
    el("span.sending-who", {}, nameOf(state.me)),
    el("span", {}, t("used")),
    el("span.command-name", {}, title),
    el("span.sending-state", {}, inkDots(), t("sending")),
  );
  $("#tail").append(line);
  const timer = setTimeout(() => {
    line.hidden = false;
  }, SLOW_MS);
  const result = await interact({ type: InteractionType.COMMAND, data, files });
  clearTimeout(timer);
  if (result.ok) {
    line.remove();
    return;
  }
  line.hidden = line.dataset.channel !== state.current;
  line.classList.add("failed");
  line.setAttribute("role", "alert");
  fill(
    line.querySelector(".sending-state"),
    icon("warning"),
    `${botName()}: ${result.reason}`,
    el("button.link", { type: "button", on: { click: () => line.remove() } }, t("dismiss")),
  );
}

/** Shows each channel its own lines only. */
export function mountSending() {
  on("channel", (id) => {
    for (const line of $("#tail").children)
      line.hidden = line.dataset.channel !== id || !line.classList.contains("failed");
  });
  on("connection", (connection) => {
    if (connection === "connecting") fill($("#tail"));
  });
}
