// Builds DOM nodes from plain data: text stays text, nothing is ever parsed as markup. Knows nothing of chat.

/**
 * @param {string} spec tag and classes, as in "button.primary.small"
 * @param {Object<string, any>} [props] attributes; `on` holds listeners, `data` the dataset, `aria` aria-* values
 * @param {...(Node|string|number|null|false|undefined|Array)} children strings become text nodes
 * @returns {HTMLElement}
 */
export function el(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) setProp(node, key, value);
  append(node, children);
  return node;
}

function setProp(node, key, value) {
  if (value === undefined || value === null || value === false) return;
  if (key === "on") {
    for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
  } else if (key === "data") {
    Object.assign(node.dataset, value);
  } else if (key === "aria") {
    for (const [name, entry] of Object.entries(value)) {
      if (entry !== undefined && entry !== null) node.setAttribute(`aria-${name}`, String(entry));
    }
  } else if (key === "class") {
    node.classList.add(...String(value).split(" ").filter(Boolean));
  } else if (key === "value" || key === "disabled" || key === "checked" || key === "hidden" || key === "open") {
    node[key] = value;
  } else {
    node.setAttribute(key, value === true ? "" : String(value));
  }
}

/** @param {Node} node @param {Array} children nested arrays are flattened, empty values skipped */
export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replaces what is in a node. @param {Element} node @param {...any} children */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

let counter = 0;
/** @param {string} prefix @returns {string} an id that no other node has */
export function freshId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** @param {string} selector @returns {HTMLElement} one of the nodes of index.html */
export function $(selector) {
  return document.querySelector(selector);
}

/** Milliseconds-delayed call that restarts when called again. @param {Function} fn @param {number} ms */
export function debounce(fn, ms) {
  let timer = 0;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...args), ms);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
