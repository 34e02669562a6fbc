// Where messages are written: text with a counter, replies, files, and the hand-over to a command's options.

import { $, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { state, on, currentChannel, isThread, isDm, may, Permission } from "./state.js";
import { postMessage, postTyping } from "./api.js";
import { typingIn } from "./session.js";
import { slashEntries, typedEntry } from "./commands.js";
import { commandPicker } from "./picker.js";
import { optionEntry } from "./options.js";
import { sendCommand } from "./sending.js";
import { uploadTray, mountDrops, fileProblem } from "./uploads.js";
import { nameOf } from "./people.js";
import { authorOf, inkDots } from "./message.js";
import { wordsOf } from "./markup.js";
import { titleOf } from "./sidebar.js";

const MOST_CHARACTERS = 2000;
const COUNT_FROM = 1800;
const TYPING_EVERY_MS = 8000;

/** Draws the composer and keeps it current. */
export function mountComposer() {
  const drafts = new Map();
  let draftOf = null;
  let replyTo = null;
  let entry = null; // the command whose options are being entered
  let typedAt = 0;
  let typedAs = "";
  let unannounced = false; // letters came while no channel was open
  let busy = false;

  const field = el("textarea.composer-field", { rows: 1, spellcheck: true, autocomplete: "off" });
  const picker = commandPicker(field, (chosen) => enter(chosen));
  const problem = el("p.composer-problem", { role: "alert", hidden: true });
  const tray = uploadTray({ onChange: () => draw(), onProblem: say });
  const reply = el("div.reply-bar", { hidden: true });
  const counter = el("span.counter", { hidden: true });
  const chooser = el("input.sr-only", {
    type: "file",
    multiple: true,
    tabindex: -1,
    aria: { hidden: true },
    on: {
      change: () => {
        takeFiles([...chooser.files]);
        chooser.value = "";
      },
    },
  });
  const attach = el(
    "button.icon-button",
    { type: "button", title: t("attach"), aria: { label: t("attach") }, on: { click: () => chooser.click() } },
    icon("plus"),
  );
  const sendButton = el("button.send", { type: "submit", title: t("send"), aria: { label: t("send") } }, icon("send"));
  const slot = el("div.composer-slot", {}, field);
  const panels = el("div.panels", {}, picker.node);
  const typing = el("div.typing", { aria: { live: "polite" } });
  const form = el(
    "form.composer",
    { novalidate: true },
    panels,
    reply,
    tray.node,
    el("div.composer-row", {}, attach, chooser, slot, counter, sendButton),
    problem,
  );
  const deny = el("div.composer.denied", { hidden: true });
  fill($("#composer"), form, deny, typing);
  $("#main").append(el("div.drop-note", { aria: { hidden: true } }, icon("image"), t("dropHere")));
  mountDrops($("#main"), takeFiles);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (entry) entry.submit();
    else send();
  });
  field.addEventListener("input", () => {
    problem.hidden = true;
    const typed = field.value.startsWith("/") ? typedEntry(slashEntries(currentChannel()), field.value) : null;
    if (typed && mayCommand()) {
      enter(typed.entry, typed.rest);
      return;
    }
    picker.update(mayCommand() ? field.value : "");
    draw();
    notifyTyping();
  });
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return; // an input method is still at work
    if (picker.handleKey(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && replyTo) {
      event.preventDefault();
      setReply(null);
    }
  });

  // Before its messages are there, a channel already has what is being typed.
  on("channel:loading", moveTo);
  on("channel", moveTo);
  on("world", drawPlace);
  on("channels", drawPlace);
  on("connection", drawPlace);
  on("commands", () => field.value.startsWith("/") && !entry && picker.update(field.value));
  on("typing", drawTyping);
  on("composer:focus", focus);
  on("composer:insert", (text) => {
    leave(text);
    picker.update(text);
  });
  on("composer:reply", (message) => message && setReply(message));
  document.addEventListener("keydown", (event) => {
    // Typing anywhere writes: only where nothing else takes the key.
    const plain = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && event.key !== " ";
    const free = document.activeElement === document.body || document.activeElement?.id === "scroller";
    if (plain && free && !document.querySelector("dialog[open]")) focus();
  });

  const mayCommand = () => may(currentChannel(), Permission.COMMANDS);
  const maySend = () =>
    may(currentChannel(), isThread(currentChannel()) ? Permission.SEND_IN_THREADS : Permission.SEND);

  function moveTo(id) {
    if (draftOf && draftOf !== id) drafts.set(draftOf, field.value);
    if (draftOf !== id) {
      leave(drafts.get(id) ?? "", { focus: false });
      setReply(null);
    }
    draftOf = id;
    drawPlace();
    drawTyping();
    if (unannounced) notifyTyping();
    unannounced = false;
    if (
      matchMedia("(hover: hover)").matches &&
      !document.querySelector("dialog[open]") &&
      !$("#sidebar").contains(document.activeElement)
    )
      focus();
  }

  function drawPlace() {
    const channel = currentChannel();
    // Between two sittings there is no channel for a moment: whoever types already loses no letter.
    if (!channel && draftOf && state.connection === "connecting") return;
    const silent = !channel || (!maySend() && !mayCommand());
    form.hidden = silent;
    deny.hidden = !silent;
    if (!channel) {
      deny.hidden = true;
      return;
    }
    fill(deny, icon("lock"), t("noPermission", { name: nameOf(state.me) }));
    const place = isDm(channel) ? `@${titleOf(channel)}` : `#${titleOf(channel)}`;
    field.placeholder = maySend() ? t("messageTo", { place }) : t("noPermission", { name: nameOf(state.me) });
    field.setAttribute("aria-label", t("messageTo", { place }));
    attach.hidden = !may(channel, Permission.ATTACH) || !maySend();
    draw();
  }

  function draw() {
    // CSS sizes the field to its text where the browser can; elsewhere this does.
    if (!CSS.supports("field-sizing", "content")) {
      field.style.height = "auto";
      field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.4)}px`;
    }
    const count = [...field.value].length;
    counter.hidden = count < COUNT_FROM || Boolean(entry);
    counter.textContent = String(MOST_CHARACTERS - count);
    counter.title = t("counter", { left: MOST_CHARACTERS - count });
    counter.classList.toggle("over", count > MOST_CHARACTERS);
    sendButton.disabled = !entry && !field.value.trim() && tray.count() === 0;
  }

  function notifyTyping() {
    if (!field.value || field.value.startsWith("/")) return;
    unannounced = !state.current;
    const again = typedAs === state.me.id && Date.now() - typedAt < TYPING_EVERY_MS;
    if (unannounced || again) return;
    typedAt = Date.now();
    typedAs = state.me.id;
    postTyping(state.me.id, state.current).catch(() => {}); // only a courtesy: nothing is lost without it
  }

  function enter(chosen, rest = "") {
    picker.close();
    problem.hidden = true;
    entry = optionEntry(chosen, {
      first: rest,
      leave,
      fileProblem,
      send: (values, files) => {
        leave("");
        sendCommand(chosen, values, files);
      },
    });
    fill(slot, entry.row);
    fill(panels, entry.panel);
    problem.after(entry.problem);
    form.classList.add("in-command");
    attach.hidden = true;
    draw();
    entry.focus();
  }

  function leave(text, { focus: wanted = true } = {}) {
    entry?.problem.remove();
    entry = null;
    form.classList.remove("in-command");
    fill(slot, field);
    fill(panels, picker.node);
    field.value = text;
    picker.update(wanted ? text : "");
    drawPlace();
    if (wanted) focus();
  }

  function focus() {
    if (entry) entry.focus();
    else if (!form.hidden) field.focus();
  }

  function takeFiles(files) {
    if (form.hidden || !files.length) return;
    if (entry) files.slice(0, 1).forEach((file) => entry.takeFile(file));
    else if (attach.hidden) say(t("noPermission", { name: nameOf(state.me) }));
    else {
      problem.hidden = true;
      tray.add(files);
      focus();
    }
  }

  function setReply(message) {
    replyTo = message;
    reply.hidden = !message;
    if (!message) return;
    fill(
      reply,
      icon("reply"),
      el("span", {}, t("replyingTo", { name: nameOf(authorOf(message)) })),
      el("span.reply-words", {}, wordsOf(message.html ?? "")),
      el(
        "button.icon-button.small",
        {
          type: "button",
          title: t("cancelReply"),
          aria: { label: t("cancelReply") },
          on: {
            click: () => {
              setReply(null);
              focus();
            },
          },
        },
        icon("close"),
      ),
    );
    focus();
  }

  async function send() {
    const content = field.value.trim();
    const count = [...content].length;
    if (busy || !state.current || (!content && !tray.count())) return;
    if (!maySend()) {
      say(t("noPermission", { name: nameOf(state.me) }));
      return;
    }
    if (count > MOST_CHARACTERS) {
      say(t("tooLong", { max: MOST_CHARACTERS, count }));
      return;
    }
    busy = true;
    const files = tray.take();
    const answered = replyTo;
    field.value = "";
    setReply(null);
    draw();
    try {
      await postMessage(state.me.id, state.current, { content, files, ...(answered ? { reply_to: answered.id } : {}) });
      typedAt = 0;
    } catch (error) {
      field.value = content + (field.value ? `\n${field.value}` : "");
      tray.restore(files);
      setReply(answered);
      say(error.message);
    } finally {
      busy = false;
      draw();
    }
  }

  function say(sentence) {
    problem.textContent = sentence;
    problem.hidden = false;
  }

  function drawTyping() {
    const names = typingIn(state.current).map(nameOf);
    const sentence =
      names.length === 1
        ? t("typingOne", { a: names[0] })
        : names.length === 2
          ? t("typingTwo", { a: names[0], b: names[1] })
          : t("typingMany");
    fill(typing, names.length ? [inkDots(), el("span", {}, sentence)] : null);
  }
}
