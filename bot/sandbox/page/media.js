// Attachments, pictures and embeds of a message. Loads nothing from outside the sandbox.

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";
import { sizeOf, stampOf } from "./format.js";
import { cssColor } from "./people.js";
import { showHtml } from "./markup.js";

/** @param {string|undefined} url @returns {string|null} the address if it is the sandbox's own */
export function ownAddress(url) {
  try {
    const parsed = new URL(url, document.baseURI);
    return parsed.origin === location.origin ? parsed.href : null;
  } catch {
    return null;
  }
}

/** @param {string|undefined} url @returns {string|null} an address fit for a link */
export function linkAddress(url) {
  try {
    const parsed = new URL(url, document.baseURI);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

/**
 * @param {object} message
 * @param {object} item attachment or unfurled media
 * @returns {string|null} its own address; attachment:// is resolved
 */
export function addressIn(message, item) {
  const url = item?.url ?? "";
  if (!url.startsWith("attachment://")) return ownAddress(item?.proxy_url) ?? ownAddress(url);
  const name = url.slice("attachment://".length);
  return ownAddress(message.attachments?.find((file) => file.filename === name)?.url);
}

const kindOf = (file) => (file.content_type ?? "").split("/")[0];

/** @param {object} message @returns {HTMLElement|null} files that no embed or component already shows */
export function renderAttachments(message) {
  const used = JSON.stringify([message.embeds ?? [], message.components ?? []]);
  const files = (message.attachments ?? []).filter(
    (file) => !(used.includes(`"${file.url}"`) || used.includes(`attachment://${file.filename}"`)),
  );
  if (!files.length) return null;
  const pictures = files.filter((file) => kindOf(file) === "image");
  const others = files.filter((file) => kindOf(file) !== "image");
  return el(
    "div.attachments",
    {},
    pictures.length
      ? el(
          "div.pictures",
          { class: pictures.length > 1 ? "many" : "" },
          pictures.map((file) => renderPicture(message, file)),
        )
      : null,
    others.map((file) =>
      kindOf(file) === "audio" || kindOf(file) === "video" ? renderPlayer(file) : renderFile(file),
    ),
  );
}

/**
 * @param {object} message
 * @param {object} item `{url, filename?, description?, width?, height?, spoiler?}`
 * @returns {HTMLElement} a picture that opens in a new tab, with its description as alternative text
 */
export function renderPicture(message, item) {
  const address = addressIn(message, item);
  if (!address) return outsidePicture(item);
  const name = item.filename ?? decodeURIComponent(new URL(address).pathname.split("/").pop());
  const alt = item.description || t("imageNoAlt");
  const image = el("img", {
    src: address,
    alt,
    title: item.description || null,
    width: item.width,
    height: item.height,
    decoding: "async",
  });
  const link = el(
    "a.picture",
    { href: address, target: "_blank", rel: "noopener", aria: { label: `${alt}. ${t("openImage", { name })}` } },
    image,
  );
  if (item.width && item.height) link.style.setProperty("--ratio", `${item.width} / ${item.height}`);
  if (item.spoiler || name.startsWith("SPOILER_")) {
    return el("span.spoiler.spoiler-block", { tabindex: 0, role: "button", aria: { label: t("spoiler") } }, link);
  }
  return link;
}

function outsidePicture(item) {
  const address = linkAddress(item?.url);
  return el(
    "span.outside",
    {},
    icon("image"),
    el("span", {}, t("outsideImage")),
    address ? el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, new URL(address).host) : null,
  );
}

function renderPlayer(file) {
  const address = ownAddress(file.url);
  return el(
    "figure.player",
    {},
    el(kindOf(file), {
      src: address,
      controls: true,
      preload: "metadata",
      aria: { label: file.description || file.filename },
    }),
    el("figcaption", {}, file.filename),
  );
}

/** @param {object} file @returns {HTMLElement} a card with name, size and a download link */
export function renderFile(file) {
  const address = ownAddress(file.url);
  const name = file.title ? `${file.title}` : (file.filename ?? file.name ?? "file");
  return el(
    "div.file-card",
    {},
    icon("file"),
    el(
      "div.file-words",
      {},
      el("a", { href: address, download: file.filename ?? name }, name),
      el("span", {}, file.size === undefined ? "" : sizeOf(file.size)),
    ),
    el(
      "a.icon-button",
      {
        href: address,
        download: file.filename ?? name,
        title: t("download", { name }),
        aria: { label: t("download", { name }) },
      },
      icon("download"),
    ),
  );
}

/** @param {object} message @returns {HTMLElement[]} */
export function renderEmbeds(message) {
  return (message.embeds ?? []).map((embed) => renderEmbed(message, embed));
}

function renderEmbed(message, embed) {
  const card = el("article.embed");
  const color = cssColor(embed.color);
  if (color) card.style.setProperty("--bar", color);
  const body = el("div.embed-body");
  if (embed.author?.name) body.append(el("div.embed-author", {}, linked(embed.author.url, embed.author.name)));
  if (embed.title) {
    const title = el("div.embed-title");
    if (embed.title_html) showHtml(title, embed.title_html);
    else title.textContent = embed.title;
    body.append(
      linkAddress(embed.url) && embed.url
        ? el(
            "a.embed-title",
            { href: linkAddress(embed.url), target: "_blank", rel: "noopener noreferrer" },
            ...title.childNodes,
          )
        : title,
    );
  }
  if (embed.description) body.append(rich("embed-description", embed.description_html, embed.description));
  if (embed.fields?.length) {
    body.append(
      el(
        "div.embed-fields",
        {},
        embed.fields.map((field) =>
          el(
            "div.embed-field",
            { class: field.inline ? "inline" : "" },
            rich("embed-field-name", field.name_html, field.name),
            rich("embed-field-value", field.value_html, field.value),
          ),
        ),
      ),
    );
  }
  if (embed.image?.url)
    body.append(renderPicture(message, { ...embed.image, description: embed.image.description ?? embed.title }));
  const foot = [embed.footer?.text, embed.timestamp ? stampOf(new Date(embed.timestamp)) : ""]
    .filter(Boolean)
    .join(" · ");
  if (foot) body.append(el("div.embed-footer", {}, foot));
  card.append(body);
  if (embed.thumbnail?.url)
    card.append(
      el("div.embed-thumbnail", {}, renderPicture(message, { ...embed.thumbnail, description: embed.title })),
    );
  return card;
}

function linked(url, text) {
  const address = url ? linkAddress(url) : null;
  return address
    ? el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text)
    : el("span", {}, text);
}

/**
 * @param {string} className
 * @param {string|undefined} html the server's rendering
 * @param {string} text what to show where the server sent none
 * @returns {HTMLElement}
 */
export function rich(className, html, text) {
  const node = el(`div.${className}.rich`);
  if (html === undefined || html === null) node.textContent = text ?? "";
  else showHtml(node, html);
  return node;
}
