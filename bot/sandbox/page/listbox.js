// A list from which a text field or button picks: arrows move, Enter picks. Knows nothing of what the entries mean.

import { el, fill, freshId } from "./dom.js";

/**
 * @template T
 * @param {{
 *   label: string,
 *   draw: (item: T) => any[],
 *   pick: (item: T, index: number) => void,
 *   chosen?: (item: T) => boolean,
 *   multiple?: boolean,
 * }} how
 */
export function listbox({ label, draw, pick, chosen = null, multiple = false }) {
  const id = freshId("listbox");
  const node = el("div.listbox", { id, role: "listbox", aria: { label, multiselectable: multiple || null } });
  let items = [];
  let active = -1;
  let field = null;

  const option = (index) => node.querySelector(`[data-index="${index}"]`);
  const mark = (scroll = true) => {
    for (const entry of node.querySelectorAll("[role=option]")) {
      const on = Number(entry.dataset.index) === active;
      entry.classList.toggle("active", on);
      if (!chosen) entry.setAttribute("aria-selected", String(on));
      if (on && scroll) entry.scrollIntoView({ block: "nearest" });
    }
    if (field) {
      if (active >= 0) field.setAttribute("aria-activedescendant", `${id}-${active}`);
      else field.removeAttribute("aria-activedescendant");
    }
  };

  node.addEventListener("pointermove", (event) => {
    const entry = event.target.closest("[role=option]");
    if (!entry || Number(entry.dataset.index) === active) return;
    active = Number(entry.dataset.index);
    mark(false);
  });
  // The field keeps the focus while the mouse picks.
  node.addEventListener("mousedown", (event) => event.preventDefault());
  node.addEventListener("click", (event) => {
    const entry = event.target.closest("[role=option]");
    if (entry && entry.getAttribute("aria-disabled") !== "true")
      pick(items[Number(entry.dataset.index)], Number(entry.dataset.index));
  });

  return {
    node,
    /** @param {HTMLElement} input the field whose aria-activedescendant follows the list */
    serve(input) {
      field = input;
      input.setAttribute("aria-controls", id);
    },
    /**
     * @param {T[]} next
     * @param {{start?: number, empty?: any, before?: (item: T, index: number) => Node|null}} [how] start: the entry
     *   that is active at first, -1 for none; before: a heading that goes above an entry
     */
    show(next, { start = 0, empty = null, before = () => null } = {}) {
      items = next;
      active = next.length ? Math.min(start, next.length - 1) : -1;
      fill(
        node,
        next.length
          ? next.map((item, index) => [
              before(item, index),
              el(
                "div.option",
                {
                  role: "option",
                  id: `${id}-${index}`,
                  data: { index },
                  aria: { selected: chosen ? chosen(item) : false },
                },
                draw(item),
              ),
            ])
          : empty,
      );
      mark();
    },
    refresh() {
      if (chosen) items.forEach((item, index) => option(index)?.setAttribute("aria-selected", String(chosen(item))));
    },
    /** @param {number} step */
    move(step) {
      if (!items.length) return;
      active = active < 0 ? (step > 0 ? 0 : items.length - 1) : (active + step + items.length) % items.length;
      mark();
    },
    /** @returns {T|undefined} */
    active: () => items[active],
    pickActive() {
      if (active >= 0) pick(items[active], active);
    },
    size: () => items.length,
  };
}
