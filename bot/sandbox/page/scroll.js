// Where the message list stands: at the bottom it follows what comes, elsewhere nothing on screen moves.

const SLACK_PX = 48; // so near to the end counts as at the end

/**
 * @param {HTMLElement} scroller
 * @param {HTMLElement[]} contents whose height changes
 * @returns {{
 *   pinned: () => boolean,
 *   toBottom: (smooth?: boolean) => void,
 *   steady: (change: () => void) => void,
 *   onMove: (listener: () => void) => void,
 * }}
 */
export function followBottom(scroller, contents) {
  let pinned = true;
  let expected = 0; // the position that we set ourselves
  const listeners = [];

  const atBottom = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < SLACK_PX;
  const toBottom = (smooth = false) => {
    pinned = true;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scroller.scrollTo({ top: scroller.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
    expected = scroller.scrollTop;
  };

  scroller.addEventListener(
    "scroll",
    () => {
      // Growth of the content also fires scroll events: only a move upwards by the reader lets go of the bottom.
      if (atBottom()) pinned = true;
      else if (scroller.scrollTop < expected - 2) pinned = false;
      expected = scroller.scrollTop;
      listeners.forEach((listener) => listener());
    },
    { passive: true },
  );

  const observer = new ResizeObserver(() => {
    if (pinned) toBottom();
    listeners.forEach((listener) => listener());
  });
  observer.observe(scroller);
  contents.forEach((content) => observer.observe(content));

  return {
    pinned: () => pinned,
    toBottom,
    /** Makes a change to the list and keeps the first visible message where it is. */
    steady(change) {
      if (pinned) {
        change();
        toBottom();
        return;
      }
      const edge = scroller.getBoundingClientRect().top;
      const anchor = [...contents[0].children].find((child) => child.getBoundingClientRect().bottom > edge + 1);
      const before = anchor?.getBoundingClientRect().top ?? 0;
      change();
      if (!anchor?.isConnected) return;
      const moved = anchor.getBoundingClientRect().top - before;
      if (Math.abs(moved) >= 1) scroller.scrollTop += moved;
      expected = scroller.scrollTop;
    },
    onMove: (listener) => listeners.push(listener),
  };
}
