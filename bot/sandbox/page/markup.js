// The server's sanitised html as nodes, checked once more against an allow-list, and patched in place while it grows.

import { t } from "./i18n.js";
import { fullDate, momentOf } from "./format.js";

const TAGS = new Set(
  (
    "a b blockquote br code del div em h1 h2 h3 h4 hr i ins kbd li mark ol p pre s small span strong sub sup " +
    "table tbody td th thead time tr u ul"
  ).split(" "),
);
const ATTRIBUTES = new Set(["class", "title", "datetime", "lang", "start", "dir"]);

/**
 * Shows html in a node, changing only what differs from what it shows.
 * @param {HTMLElement} node
 * @param {string} html from one of the server's `html` fields
 */
export function showHtml(node, html) {
  const fresh = document.createElement("div");
  // A document made by DOMParser runs no script and loads no image; only what clean() copies reaches the page.
  fresh.append(...clean(new DOMParser().parseFromString(html, "text/html").body));
  reconcile(node, fresh);
}

function clean(parent) {
  const nodes = [];
  for (const child of parent.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) {
      nodes.push(document.createTextNode(child.data));
    } else if (child.nodeType === Node.ELEMENT_NODE) {
      const name = child.localName;
      if (!TAGS.has(name)) {
        if (!["script", "style", "template", "iframe", "object", "svg", "math"].includes(name))
          nodes.push(...clean(child));
        continue;
      }
      nodes.push(copy(child, name));
    }
  }
  return nodes;
}

function copy(source, name) {
  const node = document.createElement(name);
  for (const { name: attribute, value } of source.attributes) {
    if (ATTRIBUTES.has(attribute) || attribute.startsWith("data-")) node.setAttribute(attribute, value);
  }
  if (name === "a") {
    const href = source.getAttribute("href") ?? "";
    if (/^(https?:|mailto:)/i.test(href)) {
      node.href = href;
      node.target = "_blank";
      node.rel = "noopener noreferrer nofollow";
    } else if (/^#\d+$/.test(href)) {
      node.href = href;
    }
  }
  if (node.classList.contains("spoiler")) {
    node.tabIndex = 0;
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", t("spoiler"));
  }
  node.append(...clean(source));
  if (name === "time" && node.dataset.format) showTime(node);
  return node;
}

// The server writes times in its own zone; readers see theirs.
function showTime(node) {
  const moment = new Date(node.getAttribute("datetime"));
  if (Number.isNaN(moment.getTime())) return;
  node.textContent = momentOf(moment, node.dataset.format);
  node.title = fullDate(moment);
}

/** Makes `old` look like `fresh`, keeping equal nodes, so that selections and revealed spoilers outlive an edit. */
function reconcile(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((want, index) => {
    const have = old.childNodes[index];
    if (!have) {
      old.appendChild(want);
    } else if (have.nodeType !== want.nodeType || have.nodeName !== want.nodeName) {
      old.replaceChild(want, have);
    } else if (have.nodeType === Node.TEXT_NODE) {
      if (have.data !== want.data) extendText(have, want.data);
    } else {
      syncAttributes(have, want);
      reconcile(have, want);
    }
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function extendText(node, text) {
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function syncAttributes(have, want) {
  const revealed = have.classList.contains("revealed");
  for (const { name } of [...have.attributes]) if (!want.hasAttribute(name)) have.removeAttribute(name);
  for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  if (revealed) reveal(have);
}

/** @param {Element} spoiler */
export function reveal(spoiler) {
  spoiler.classList.add("revealed");
  spoiler.removeAttribute("role");
  spoiler.removeAttribute("aria-label");
}

/**
 * @param {string} html from one of the server's `html` fields
 * @returns {string} its words on one line, spoilers hidden
 */
export function wordsOf(html) {
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const spoiler of body.querySelectorAll(".spoiler")) spoiler.replaceWith(t("hiddenWords"));
  for (const block of body.querySelectorAll("p, br, li, h1, h2, h3, pre, blockquote")) block.append(" ");
  for (const line of body.querySelectorAll("br")) line.replaceWith(" ");
  return body.textContent.replace(/\s+/g, " ").trim();
}

/** Lets spoilers be shown by click and key, anywhere on the page. */
export function mountSpoilers() {
  document.addEventListener("click", (event) => {
    const spoiler = event.target.closest(".spoiler:not(.revealed)");
    if (!spoiler) return;
    event.preventDefault();
    reveal(spoiler);
  });
  document.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target.matches(".spoiler:not(.revealed)")) {
      event.preventDefault();
      reveal(event.target);
    }
  });
}
