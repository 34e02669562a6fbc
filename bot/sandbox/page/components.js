// Buttons, selects and the layout components under (or instead of) a message's text.

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { cssColor } from "./people.js";
import { linkAddress, renderFile, renderPicture, rich } from "./media.js";
import { selectControl } from "./selects.js";
import { interact, InteractionType } from "./interactions.js";

/** Discord's component types. */
export const Kind = {
  ROW: 1,
  BUTTON: 2,
  STRING_SELECT: 3,
  TEXT_INPUT: 4,
  USER_SELECT: 5,
  ROLE_SELECT: 6,
  MENTIONABLE_SELECT: 7,
  CHANNEL_SELECT: 8,
  SECTION: 9,
  TEXT: 10,
  THUMBNAIL: 11,
  GALLERY: 12,
  FILE: 13,
  SEPARATOR: 14,
  CONTAINER: 17,
  LABEL: 18,
  FILE_UPLOAD: 19,
  RADIO_GROUP: 21,
  CHECKBOX_GROUP: 22,
  CHECKBOX: 23,
};

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link-style", 6: "primary" };

/** @param {object} message @returns {HTMLElement[]} */
export function renderComponents(message) {
  const components = message.components ?? [];
  if (!components.length) return [];
  return [
    ...components.map((component) => render(message, component)),
    el("p.failure", { role: "alert", hidden: true }),
  ];
}

function render(message, component) {
  const draw = DRAW[component.type];
  return draw ? draw(message, component) : el("p.unknown", {}, t("unknownComponent", { type: component.type }));
}

const inside = (message, component) => (component.components ?? []).map((child) => render(message, child));

const DRAW = {
  [Kind.ROW]: (message, row) => el("div.row", {}, inside(message, row)),
  [Kind.BUTTON]: button,
  [Kind.STRING_SELECT]: select,
  [Kind.USER_SELECT]: select,
  [Kind.ROLE_SELECT]: select,
  [Kind.MENTIONABLE_SELECT]: select,
  [Kind.CHANNEL_SELECT]: select,
  [Kind.SECTION]: (message, section) =>
    el(
      "div.section",
      {},
      el("div.section-text", {}, inside(message, section)),
      el("div.section-accessory", {}, section.accessory ? render(message, section.accessory) : null),
    ),
  [Kind.TEXT]: (message, text) => rich("text-display", text.html ?? text.content_html, text.content),
  [Kind.THUMBNAIL]: (message, thumbnail) =>
    el("div.thumbnail", {}, renderPicture(message, mediaOf(thumbnail, thumbnail.media))),
  [Kind.GALLERY]: (message, gallery) =>
    el(
      "div.gallery",
      { class: `of-${Math.min(gallery.items.length, 4)}` },
      gallery.items.map((item) => renderPicture(message, mediaOf(item, item.media))),
    ),
  [Kind.FILE]: (message, file) => renderFile(fileOf(message, file)),
  [Kind.SEPARATOR]: (message, separator) =>
    el("div.gap", {
      class: separator.spacing === 2 ? "wide" : "",
      role: separator.divider === false ? null : "separator",
    }),
  [Kind.CONTAINER]: container,
};

const mediaOf = (holder, media) => ({ ...media, description: holder.description, spoiler: holder.spoiler });

function fileOf(message, component) {
  const url = component.file?.url ?? "";
  const name = component.name ?? url.replace("attachment://", "").split("/").pop();
  const attachment = message.attachments?.find((file) => file.url === url || file.filename === name);
  return attachment ?? { url, filename: decodeURIComponent(name), size: component.size };
}

function container(message, box) {
  const node = el("div.container", {}, inside(message, box));
  const color = cssColor(box.accent_color);
  if (color) {
    node.classList.add("accented");
    node.style.setProperty("--bar", color);
  }
  return box.spoiler
    ? el("div.spoiler.spoiler-block", { tabindex: 0, role: "button", aria: { label: t("spoiler") } }, node)
    : node;
}

function face(component) {
  const emoji = component.emoji;
  return [
    emoji && !emoji.id ? el("span.emoji", {}, emoji.name) : null,
    emoji?.id && !component.label ? `:${emoji.name}:` : null,
    component.label ? el("span", {}, component.label) : null,
  ];
}

function button(message, component) {
  const style = STYLES[component.style] ?? "secondary";
  if (component.style === 5) {
    const address = component.disabled ? null : linkAddress(component.url);
    return el(
      "a.button.link-style",
      { href: address, target: "_blank", rel: "noopener noreferrer", aria: { disabled: component.disabled || null } },
      face(component),
      icon("external"),
    );
  }
  const node = el(
    `button.button.${style}`,
    {
      type: "button",
      disabled: Boolean(component.disabled),
      data: { custom: component.custom_id },
      aria: { label: component.label ? null : component.emoji?.name },
      on: { click: () => ask(node, message, { component_type: Kind.BUTTON, custom_id: component.custom_id }) },
    },
    el("span.button-face", {}, face(component)),
    el("span.spinner", { aria: { hidden: true } }),
  );
  return node;
}

function select(message, component) {
  const control = selectControl(component, {
    label: component.placeholder || t("select"),
    commit: (values) =>
      ask(control.button, message, { component_type: component.type, custom_id: component.custom_id, values }),
  });
  return control.node;
}

async function ask(node, message, data) {
  if (node.getAttribute("aria-busy") === "true") return;
  const failure = () => node.closest(".m-components")?.querySelector(".failure");
  node.setAttribute("aria-busy", "true");
  if (failure()) failure().hidden = true;
  const result = await interact({ type: InteractionType.COMPONENT, message_id: message.id, data });
  node.removeAttribute("aria-busy");
  const place = failure();
  if (result.ok || !place) return;
  place.textContent = result.reason;
  place.hidden = false;
}
