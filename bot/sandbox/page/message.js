// One message as an article: built once, then patched section by section as edits come.

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, MessageFlag, messageOf } from "./state.js";
import { avatar, botTag, nameButton, nameOf } from "./people.js";
import { showHtml, wordsOf } from "./markup.js";
import { renderAttachments, renderEmbeds } from "./media.js";
import { renderComponents } from "./components.js";
import { fullDate, languageOf, stampOf, timeOf } from "./format.js";

const LIVE_MS = 2600; // an edit this recent means that the author is still writing
const REPLY_TYPE = 19;
const THREAD_CREATED_TYPE = 18;
const JOIN_TYPE = 7;
const COMMAND_TYPE = 20;
const MENU_TYPE = 23;

/** @param {object} message @returns {boolean} */
export const isEphemeral = (message) =>
  Boolean(message.ephemeral_for) || Boolean((message.flags ?? 0) & MessageFlag.EPHEMERAL);

/** @param {object} message @returns {boolean} the bot deferred and has not answered yet */
export const isThinking = (message) => Boolean((message.flags ?? 0) & MessageFlag.LOADING);

/** @param {object} message @returns {object} who wrote it, as the page knows them now */
export const authorOf = (message) =>
  message.webhook_id && !message.author?.bot ? message.author : (state.users.get(message.author.id) ?? message.author);

/** @param {object} message @returns {boolean} whether a line above names a reply or a command */
export const hasContext = (message) => Boolean(commandOf(message)) || message.type === REPLY_TYPE;

/** @param {object} message @returns {{user: object, name: string}|null} the command that it answers */
export function commandOf(message) {
  const cause = message.interaction_metadata ?? message.interaction;
  if (!cause || ![COMMAND_TYPE, MENU_TYPE].includes(message.type)) return null;
  const name = message.interaction?.name ?? cause.name ?? cause.command_name;
  return name ? { user: cause.user ?? message.interaction?.user, name, menu: message.type === MENU_TYPE } : null;
}

/**
 * @param {object} message
 * @param {{compact: boolean}} how compact: it continues the message above
 * @returns {HTMLElement}
 */
export function renderMessage(message, { compact }) {
  const node = el("article.message", { tabindex: -1, data: { id: message.id } });
  for (const name of [
    "context",
    "gutter",
    "head",
    "content",
    "attachments",
    "embeds",
    "components",
    "thread",
    "foot",
  ]) {
    node.append(el(`div.m-${name}`, { hidden: true }));
  }
  node.append(el("div.m-tools", {}, toolButton("reply", t("reply")), toolButton("dots", t("more"))));
  node.seen = {};
  updateMessage(node, message, { compact });
  return node;
}

function toolButton(name, label) {
  return el(
    "button.icon-button.small",
    {
      type: "button",
      tabindex: -1,
      data: { tool: name },
      title: label,
      aria: { label, haspopup: name === "dots" ? "menu" : null },
    },
    icon(name),
  );
}

/** Brings an article up to date; what did not change is not touched. */
export function updateMessage(node, message, { compact, edited = false }) {
  const author = authorOf(message);
  if (edited && node.current.content !== message.content) markLive(node, message);
  node.current = message;
  node.classList.toggle("compact", compact);
  node.classList.toggle("ephemeral", isEphemeral(message));
  node.classList.toggle("thinking", isThinking(message));
  node.classList.toggle("pings", mentionsMe(message));
  node.classList.toggle("system", [JOIN_TYPE, THREAD_CREATED_TYPE].includes(message.type));
  const date = new Date(message.timestamp);
  const name = nameOf(author);
  node.setAttribute("aria-label", `${name}, ${stampOf(date)}`);

  part(
    node,
    "context",
    [
      commandOf(message)?.name,
      message.referenced_message?.id,
      message.referenced_message?.content,
      message.type,
      message.referenced_message === null,
    ],
    () => contextOf(message),
  );
  part(node, "gutter", [compact, author.id, name], () =>
    compact
      ? el("time.gutter-time", { datetime: message.timestamp, title: fullDate(date) }, timeOf(date))
      : el(
          "button.avatar-button",
          { type: "button", tabindex: -1, data: { user: author.id }, aria: { hidden: true } },
          avatar(author),
        ),
  );
  part(node, "head", [compact, author.id, name, author.bot], () =>
    compact
      ? null
      : [
          nameButton(author),
          author.bot ? botTag() : null,
          el("time.stamp", { datetime: message.timestamp, title: fullDate(date) }, stampOf(date)),
        ],
  );
  part(node, "attachments", [message.attachments, message.embeds, message.components], () =>
    renderAttachments(message),
  );
  part(node, "embeds", [message.embeds], () => renderEmbeds(message));
  part(node, "components", [message.components, message.attachments], () => renderComponents(message));
  part(node, "thread", [message.thread?.id, message.thread?.name], () => (message.thread ? threadOf(message) : null));
  part(node, "foot", [isEphemeral(message)], () => (isEphemeral(message) ? footOf() : null));
  drawContent(node);
}

function part(node, name, key, build) {
  const signature = JSON.stringify(key) ?? "";
  if (node.seen[name] === signature) return;
  node.seen[name] = signature;
  const slot = node.querySelector(`:scope > .m-${name}`);
  const built = [build()].flat(Infinity).filter(Boolean);
  fill(slot, built);
  slot.hidden = built.length === 0;
}

function drawContent(node) {
  const message = node.current;
  const name = nameOf(authorOf(message));
  const slot = node.querySelector(":scope > .m-content");
  const live = node.classList.contains("live");
  const signature = JSON.stringify([
    message.html,
    message.content,
    message.flags,
    message.edited_timestamp,
    live,
    message.type,
  ]);
  if (node.seen.content === signature) return;
  node.seen.content = signature;
  if (isThinking(message)) {
    fill(slot, el("span.thinking-words", {}, inkDots(), t("thinking", { name })));
    slot.hidden = false;
    return;
  }
  let text = slot.querySelector(":scope > .rich");
  if (!text) {
    text = el("div.rich");
    fill(slot, text);
  }
  const words = systemWords(message, name) ?? message.content ?? "";
  if (systemWords(message, name) || message.html === undefined) text.textContent = words;
  else showHtml(text, message.html);
  const language = languageOf(words);
  if (language) text.lang = language;
  else text.removeAttribute("lang");
  text.classList.toggle("jumbo", isOnlyEmoji(words));
  slot.querySelector(":scope > .edited")?.remove();
  if (message.edited_timestamp && !live && words) {
    const when = fullDate(new Date(message.edited_timestamp));
    slot.append(el("span.edited", { title: t("editedAt", { time: when }) }, `(${t("edited")})`));
  }
  slot.hidden = !words;
}

function systemWords(message, name) {
  if (message.type === THREAD_CREATED_TYPE) return `${t("startedThread", { name })}: ${message.content}`;
  if (message.type === JOIN_TYPE) return t("joined", { name });
  return null;
}

function contextOf(message) {
  const command = commandOf(message);
  if (command) {
    const user = state.users.get(command.user?.id) ?? command.user;
    return el(
      "div.context",
      {},
      el("span.elbow"),
      user ? avatar(user, "tiny") : null,
      user ? nameButton(user, "context-name") : null,
      el("span", {}, t("used")),
      el("span.command-name", {}, `${command.menu ? "" : "/"}${command.name}`),
    );
  }
  if (message.type !== REPLY_TYPE) return null;
  const original = message.referenced_message ?? messageOf(message.channel_id, message.message_reference?.message_id);
  if (!original) return el("div.context.gone", {}, el("span.elbow"), icon("reply"), el("em", {}, t("replyGone")));
  const author = authorOf(original);
  return el(
    "div.context",
    {},
    el("span.elbow"),
    avatar(author, "tiny"),
    nameButton(author, "context-name"),
    el(
      "button.context-text",
      { type: "button", data: { jump: original.id } },
      wordsOf(original.html ?? "") || t("attachmentOnly"),
    ),
  );
}

function threadOf({ thread }) {
  const known = state.channels.get(thread.id) ?? thread;
  return el("a.thread-link", { href: `#${thread.id}` }, icon("thread"), el("span", {}, known.name), icon("right"));
}

function footOf() {
  return el(
    "div.only-you",
    {},
    icon("eye"),
    el("span", {}, t("onlyYou")),
    el("span", { aria: { hidden: true } }, "·"),
    el("button.link", { type: "button", data: { tool: "dismiss" } }, t("dismissMessage")),
  );
}

function markLive(node, message) {
  if (!authorOf(message).bot || isThinking(message)) return;
  node.classList.add("live");
  clearTimeout(node.liveTimer);
  node.liveTimer = setTimeout(() => {
    node.classList.remove("live");
    drawContent(node);
    node.dispatchEvent(new CustomEvent("settled", { bubbles: true }));
  }, LIVE_MS);
}

/** @returns {HTMLElement} three drops of ink */
export const inkDots = () => el("span.ink-dots", { aria: { hidden: true } }, el("i"), el("i"), el("i"));

const mentionsMe = (message) =>
  Boolean(
    state.me &&
    message.author.id !== state.me.id &&
    (message.mention_everyone || message.mentions?.some((user) => user.id === state.me.id)),
  );

const isOnlyEmoji = (text) =>
  text.length > 0 &&
  text.length <= 27 &&
  /^(\p{Emoji_Presentation}|\p{Extended_Pictographic}|\u200d|\ufe0f|\s)+$/u.test(text);
