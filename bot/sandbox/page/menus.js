// Context menus: of a message (the bot's message commands, reply, copy) and of a member (its member commands, a DM).

import { $, el } from "./dom.js";
import { icon } from "./icons.js";
import { t, localName } from "./i18n.js";
import { state, emit, currentChannel, messageOf, may, isDm, isThread, ChannelType, Permission } from "./state.js";
import { openPopup, closePopup } from "./popup.js";
import { askLine } from "./modal.js";
import { menuCommands } from "./commands.js";
import { sendMenuCommand } from "./sending.js";
import { avatar, nameOf } from "./people.js";
import { isEphemeral, authorOf } from "./message.js";
import { dismiss, jumpTo } from "./messages.js";
import { openChannel } from "./session.js";
import { openDm } from "./sidebar.js";
import { deleteMessage, postChannel } from "./api.js";

/**
 * @param {HTMLElement|{x: number, y: number}} anchor
 * @param {string} label
 * @param {({label: string, act: () => void, icon?: string, picture?: Node, grave?: boolean}|"line"|null|false)[]} items
 */
export function openMenu(anchor, label, items) {
  const before = document.activeElement;
  const run = (item) => {
    closePopup();
    before?.focus?.({ preventScroll: true });
    item.act();
  };
  const box = el(
    "div.menu",
    { role: "menu", aria: { label } },
    items.filter(Boolean).map((item) =>
      item === "line"
        ? el("div.menu-line", { role: "separator" })
        : el(
            "button.menu-item",
            {
              type: "button",
              class: item.grave ? "grave" : "",
              role: "menuitem",
              tabindex: -1,
              on: { click: () => run(item) },
            },
            item.picture ?? (item.icon ? icon(item.icon) : null),
            el("span", {}, item.label),
          ),
    ),
  );
  box.addEventListener("keydown", (event) => {
    const all = [...box.querySelectorAll("[role=menuitem]")];
    const at = all.indexOf(document.activeElement);
    const next =
      {
        ArrowDown: all[(at + 1) % all.length],
        ArrowUp: all[(at - 1 + all.length) % all.length],
        Home: all[0],
        End: all.at(-1),
      }[event.key] ??
      (event.key.length === 1 && event.key !== " "
        ? [...all.slice(at + 1), ...all].find((entry) =>
            entry.textContent.toLowerCase().startsWith(event.key.toLowerCase()),
          )
        : null);
    if (event.key === "Tab") closePopup();
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  openPopup(box, anchor, {
    align: anchor instanceof Element ? "end" : "start",
    onClose: () => {
      if (box.contains(document.activeElement) || document.activeElement === document.body)
        before?.focus?.({ preventScroll: true });
    },
  });
  box.querySelector("[role=menuitem]")?.focus();
}

/** Listens for right clicks, "…" buttons, names and keys on messages and members. */
export function mountMenus() {
  document.addEventListener("contextmenu", (event) => {
    const person = event.target.closest("[data-user]");
    const message = event.target.closest(".message");
    if (!person && !message) return;
    // links, pictures and selected text keep the browser's own menu
    if (!person && (event.target.closest("a[href], img") || !getSelection().isCollapsed)) return;
    event.preventDefault();
    const point = event.clientX || event.clientY ? { x: event.clientX, y: event.clientY } : (person ?? message);
    if (person) userMenu(point, person.dataset.user);
    else messageMenu(point, message.dataset.id);
  });
  document.addEventListener("click", (event) => {
    const person = event.target.closest("[data-user]");
    if (person?.matches("button")) userMenu(person, person.dataset.user);
    const mention = event.target.closest(".mention[data-id]");
    if (state.users.has(mention?.dataset.id)) userMenu(mention, mention.dataset.id);
    else if (state.channels.has(mention?.dataset.id)) openChannel(mention.dataset.id);
    const jump = event.target.closest("[data-jump]");
    if (jump) jumpTo(jump.dataset.jump);
    const tool = event.target.closest("[data-tool]");
    const id = tool?.closest(".message")?.dataset.id;
    if (!id) return;
    if (tool.dataset.tool === "reply") emit("composer:reply", messageOf(state.current, id));
    else if (tool.dataset.tool === "dismiss") dismiss(id);
    else messageMenu(tool, id);
  });
  $("#list").addEventListener("keydown", (event) => {
    if (!event.target.matches(".message")) return;
    if (event.key === "r" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      emit("composer:reply", messageOf(state.current, event.target.dataset.id));
    } else if (event.key === "Enter" || event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      event.preventDefault();
      messageMenu(event.target.querySelector(".m-tools") ?? event.target, event.target.dataset.id);
    }
  });
}

function messageMenu(anchor, id) {
  const message = messageOf(state.current, id);
  if (!message) return;
  const channel = currentChannel();
  const hidden = isEphemeral(message);
  const commands = may(channel, Permission.COMMANDS) ? menuCommands(3, channel) : [];
  openMenu(anchor, t("messageActions"), [
    ...commands.map((command) => ({ label: localName(command), icon: "app", act: () => sendMenuCommand(command, id) })),
    commands.length ? "line" : null,
    hidden ? null : { label: t("reply"), icon: "reply", act: () => emit("composer:reply", message) },
    !hidden &&
      !isThread(channel) &&
      !isDm(channel) &&
      may(channel, Permission.THREADS) && {
        label: t("createThread"),
        icon: "thread",
        act: () => createThread(message),
      },
    message.content && { label: t("copyText"), icon: "copy", act: () => copy(message.content) },
    { label: t("copyId"), icon: "copy", act: () => copy(message.id) },
    hidden && { label: t("dismissMessage"), icon: "close", act: () => dismiss(id) },
    !hidden && mayDelete(message, channel) && "line",
    !hidden &&
      mayDelete(message, channel) && {
        label: t("deleteMessage"),
        icon: "trash",
        grave: true,
        act: () => remove(message),
      },
  ]);
}

const mayDelete = (message, channel) =>
  message.author.id === state.me.id || (!isDm(channel) && may(channel, Permission.MANAGE_MESSAGES));

async function remove(message) {
  await deleteMessage(state.me.id, message.channel_id, message.id).catch((error) =>
    emit("notice", { text: error.message, kind: "problem" }),
  );
}

function userMenu(anchor, id) {
  const user = state.users.get(id);
  if (!user) return;
  const channel = currentChannel();
  const commands = may(channel, Permission.COMMANDS) ? menuCommands(2, channel) : [];
  openMenu(anchor, nameOf(user), [
    ...commands.map((command) => ({ label: localName(command), icon: "app", act: () => sendMenuCommand(command, id) })),
    commands.length ? "line" : null,
    id !== state.me.id && {
      label: t("sendDm", { name: nameOf(user) }),
      picture: avatar(user, "tiny"),
      act: () => openDm(id),
    },
    { label: t("copyUserId"), icon: "copy", act: () => copy(id) },
  ]);
}

async function createThread(message) {
  const words = (message.content || nameOf(authorOf(message))).split("\n")[0].slice(0, 40);
  const name = await askLine(t("createThread"), t("threadName"), { value: words });
  if (!name) return;
  try {
    const thread = await postChannel({
      as: state.me.id,
      name,
      type: ChannelType.THREAD,
      parent_id: message.channel_id,
      message_id: message.id,
    });
    state.channels.set(thread.id, { ...state.channels.get(thread.id), ...thread });
    emit("channels");
    await openChannel(thread.id);
  } catch (error) {
    emit("notice", { text: error.message, kind: "problem" });
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    emit("notice", { text: t("copied") });
  } catch {
    emit("notice", { text: t("copyFailed"), kind: "problem" });
  }
}
