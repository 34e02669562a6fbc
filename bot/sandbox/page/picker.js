// The list of slash commands above the composer while "/" is being typed.

import { el, fill } from "./dom.js";
import { t, localName } from "./i18n.js";
import { state, currentChannel } from "./state.js";
import { findEntries, slashEntries } from "./commands.js";
import { listbox } from "./listbox.js";
import { avatar, botName } from "./people.js";

/**
 * @param {HTMLElement} field the composer's text area
 * @param {(entry: import("./commands.js").Entry) => void} choose
 * @returns {{
 *   node: HTMLElement, update: (text: string) => void, close: () => void,
 *   handleKey: (event: KeyboardEvent) => boolean,
 * }}
 */
export function commandPicker(field, choose) {
  const list = listbox({
    label: t("commands"),
    pick: (entry) => choose(entry),
    draw: (entry) => [
      el(
        "span.option-words",
        {},
        el("span.option-name.command-path", {}, el("span.slash", {}, "/"), entry.title, hintOf(entry)),
        el("span.option-note", {}, entry.description),
      ),
      el("span.option-bot", {}, botName()),
    ],
  });
  const head = el("div.panel-head");
  const foot = el(
    "div.panel-foot",
    { aria: { hidden: true } },
    el("kbd", {}, "↑"),
    el("kbd", {}, "↓"),
    t("pickerKeys"),
    el("kbd", {}, "Enter"),
    t("pickerEnter"),
    el("kbd", {}, "Esc"),
    t("pickerEsc"),
  );
  const node = el("div.panel", { hidden: true }, head, list.node, foot);
  list.serve(field);
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-expanded", "false");
  let shutFor = null; // Escape closes the list for this text only

  const close = () => {
    node.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  return {
    node,
    close,
    update(text) {
      if (!text.startsWith("/") || text.includes("\n") || text === shutFor) {
        close();
        return;
      }
      shutFor = null;
      const query = text.slice(1);
      const all = slashEntries(currentChannel());
      const found = findEntries(all, query);
      if (query.includes(" ") && !found.length) {
        close();
        return;
      }
      fill(
        head,
        avatar(state.bot.user ?? { bot: true }, "tiny"),
        query ? t("commandsFor", { query: `/${query}` }) : t("commands"),
      );
      list.show(found, {
        empty: el(
          "p.none",
          {},
          all.length ? t("noCommands", { query: text }) : t("noCommandsYet", { name: botName() }),
        ),
      });
      node.hidden = false;
      field.setAttribute("aria-expanded", "true");
    },
    handleKey(event) {
      if (node.hidden) return false;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) list.move(step);
      else if (event.key === "Escape") {
        shutFor = field.value;
        close();
      } else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey && list.active()) list.pickActive();
      else return false;
      event.preventDefault();
      event.stopPropagation();
      return true;
    },
  };
}

function hintOf(entry) {
  return entry.options
    .filter((option) => option.required)
    .map((option) => el("span.option-hint", {}, localName(option)));
}
