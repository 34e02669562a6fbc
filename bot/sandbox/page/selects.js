// A select (string, member, role, channel; one or several) as a button with a list box, in messages and in forms.

import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { listbox } from "./listbox.js";
import { openPopup } from "./popup.js";
import { channelChoices, drawChoice, roleChoices, search, userChoices } from "./choices.js";

const SEARCH_FROM = 10; // shorter lists need no search field

/**
 * @param {object} component Discord's select
 * @param {{label: string, commit?: (values: string[]) => void, labelledby?: string}} how
 * @returns {{node: HTMLElement, button: HTMLButtonElement, values: () => string[]}}
 */
export function selectControl(component, { label, commit = () => {}, labelledby = null }) {
  const choices = choicesOf(component);
  const most = component.max_values ?? 1;
  const least = component.min_values ?? 1;
  const several = most > 1;
  let picked = defaultsOf(component, choices);

  const face = el("span.select-face");
  const button = el(
    "button.select",
    {
      type: "button",
      disabled: Boolean(component.disabled),
      data: { custom: component.custom_id },
      aria: { haspopup: "listbox", expanded: "false", label: labelledby ? null : label, describedby: labelledby },
      on: {
        click: open,
        keydown: (event) => {
          if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            open();
          }
        },
      },
    },
    face,
    el("span.spinner", { aria: { hidden: true } }),
    icon("down"),
  );
  const drawFace = () => {
    const chosen = choices.filter((choice) => picked.includes(choice.value));
    fill(
      face,
      chosen.length
        ? chosen.map((choice) => el("span.picked", {}, choice.picture ? choice.picture() : null, choice.name))
        : el("span.placeholder", {}, component.placeholder || t("select")),
    );
  };
  drawFace();

  function open() {
    if (button.getAttribute("aria-expanded") === "true" || button.getAttribute("aria-busy") === "true") return;
    const before = picked;
    const list = listbox({
      label,
      multiple: several,
      draw: (choice) => [...drawChoice(choice), el("span.tick", {}, icon("check"))],
      chosen: (choice) => picked.includes(choice.value),
      pick: toggle,
    });
    const wantsSearch = choices.length >= SEARCH_FROM || component.type !== 3;
    const field = wantsSearch
      ? el("input.select-search", {
          type: "text",
          placeholder: t("searchOptions"),
          autocomplete: "off",
          role: "combobox",
          aria: { label: t("searchOptions"), expanded: "true", autocomplete: "list" },
        })
      : list.node;
    if (!wantsSearch) field.tabIndex = 0;
    const show = (query = "") => {
      const found = search(choices, query);
      const at = found.findIndex((choice) => picked.includes(choice.value));
      list.show(found, { start: Math.max(at, 0), empty: el("p.none", {}, t("noOptions")) });
    };
    list.serve(field);
    const note = several
      ? el(
          "div.select-note",
          {},
          el("span", {}, least > 1 ? t("pickBetween", { min: least, max: most }) : t("pickUpTo", { max: most })),
          el("button.button.primary.small", { type: "button", on: { click: () => popup.close() } }, t("done")),
        )
      : null;
    const box = el("div.select-box", {}, wantsSearch ? field : null, list.node, note);
    box.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) list.move(step);
      else if (event.key === "Enter" || (event.key === " " && !wantsSearch)) list.pickActive();
      else if (event.key === "Tab") popup.close();
      else return;
      if (event.key !== "Tab" && !event.target.closest(".select-note")) event.preventDefault();
    });
    if (wantsSearch) field.addEventListener("input", () => show(field.value));
    show();
    button.setAttribute("aria-expanded", "true");
    const popup = openPopup(box, button, {
      matchWidth: true,
      onClose: () => {
        button.setAttribute("aria-expanded", "false");
        if (button.isConnected) button.focus({ preventScroll: true });
        if (picked.length < least) picked = before;
        else if (picked.length !== before.length || picked.some((value) => !before.includes(value)))
          commit([...picked]);
        drawFace();
      },
    });
    field.focus();

    function toggle(choice) {
      const has = picked.includes(choice.value);
      if (!several) {
        picked = has && least === 0 ? [] : [choice.value];
        popup.close();
        return;
      }
      if (has) picked = picked.filter((value) => value !== choice.value);
      else if (picked.length < most) picked = [...picked, choice.value];
      list.refresh();
      drawFace();
    }
  }

  return { node: el("div.select-wrap", {}, button), button, values: () => [...picked] };
}

function choicesOf(component) {
  switch (component.type) {
    case 3:
      return component.options.map((option) => ({
        value: option.value,
        name: option.label,
        description: option.description,
        picture: option.emoji && !option.emoji.id ? () => el("span.emoji", {}, option.emoji.name) : null,
      }));
    case 5:
      return userChoices();
    case 6:
      return roleChoices();
    case 7:
      return [...userChoices(), ...roleChoices()];
    default:
      return channelChoices(component.channel_types);
  }
}

function defaultsOf(component, choices) {
  if (component.type === 3) return component.options.filter((option) => option.default).map((option) => option.value);
  const known = new Set(choices.map((choice) => choice.value));
  return (component.default_values ?? []).map((entry) => entry.id).filter((id) => known.has(id));
}
