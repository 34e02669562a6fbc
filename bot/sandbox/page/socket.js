// One member's event socket: it reconnects by itself with growing pauses. Knows nothing of what the events mean.

import { socketAddress } from "./api.js";

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 8000;

/**
 * @param {string} as the member
 * @param {{onOpen: () => void, onFrame: (frame: {t: string, d: any}) => void, onLost: () => void}} listeners
 * @returns {{close: () => void}}
 */
export function openSocket(as, { onOpen, onFrame, onLost }) {
  let pause = FIRST_PAUSE_MS;
  let closed = false;
  let timer = 0;
  let socket = null;

  const connect = () => {
    clearTimeout(timer);
    socket = new WebSocket(socketAddress(as));
    socket.addEventListener("open", () => {
      pause = FIRST_PAUSE_MS;
      onOpen();
    });
    socket.addEventListener("message", (event) => {
      if (!closed) onFrame(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      if (closed) return;
      onLost();
      timer = setTimeout(connect, pause * (0.75 + Math.random() / 2)); // spread, so that tabs do not knock together
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    });
  };
  const hurry = () => {
    if (!closed && socket.readyState === WebSocket.CLOSED) connect();
  };
  window.addEventListener("online", hurry);
  connect();

  return {
    close() {
      closed = true;
      clearTimeout(timer);
      window.removeEventListener("online", hurry);
      socket.close();
    },
  };
}
