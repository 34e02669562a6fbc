// A box in the top layer beside what opened it: placed, kept in view, closed by Escape or a click elsewhere.

const MARGIN_PX = 8;
let current = null;

/**
 * @param {HTMLElement} box
 * @param {HTMLElement|{x: number, y: number}} anchor an element, or a point of the window
 * @param {{align?: "start"|"end", matchWidth?: boolean, onClose?: () => void}} [how]
 * @returns {{close: () => void, place: () => void}}
 */
export function openPopup(box, anchor, { align = "start", matchWidth = false, onClose = () => {} } = {}) {
  current?.close();
  // Outside of an open modal dialog everything is inert, so the box goes inside it.
  const host = (anchor instanceof Element && anchor.closest("dialog")) || document.body;
  box.classList.add("popup");
  box.popover = "manual";
  host.append(box);
  box.showPopover();

  const place = () => {
    const point =
      anchor instanceof Element
        ? anchor.getBoundingClientRect()
        : { left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y, width: 0 };
    if (matchWidth) box.style.minWidth = `${point.width}px`;
    const { offsetWidth: width, offsetHeight: height } = box;
    const left = align === "end" ? point.right - width : point.left;
    const below = innerHeight - point.bottom - MARGIN_PX;
    const under = below >= height || below >= point.top;
    const top = under ? point.bottom + 4 : point.top - height - 4;
    box.style.left = `${clamp(left, MARGIN_PX, innerWidth - width - MARGIN_PX)}px`;
    box.style.top = `${clamp(top, MARGIN_PX, innerHeight - height - MARGIN_PX)}px`;
  };
  const outside = (event) => {
    const path = event.composedPath();
    if (!path.includes(box) && !(anchor instanceof Element && path.includes(anchor))) close();
  };
  const escape = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // else an open dialog would close as well
    event.stopPropagation();
    close();
  };
  const scrolled = (event) => {
    if (!box.contains(event.target)) place();
  };
  const close = () => {
    if (current?.box !== box) return;
    current = null;
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("keydown", escape, true);
    document.removeEventListener("scroll", scrolled, true);
    window.removeEventListener("resize", close);
    box.remove();
    onClose();
  };
  current = { box, close };
  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("keydown", escape, true);
  document.addEventListener("scroll", scrolled, true);
  window.addEventListener("resize", close);
  place();
  return { close, place };
}

/** Closes whatever box is open. */
export function closePopup() {
  current?.close();
}

const clamp = (value, low, high) => Math.max(low, Math.min(value, Math.max(low, high)));
