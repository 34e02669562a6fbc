// What was asked of the bot and not yet answered: sends interactions, and tells the place that sent one how it went.

import { postInteraction } from "./api.js";
import { state, on, emit } from "./state.js";
import { locale, t } from "./i18n.js";

const EARLY_MS = 10_000;

export const InteractionType = { COMMAND: 2, COMPONENT: 3, AUTOCOMPLETE: 4, MODAL: 5 };

/** @type {Map<string, {settle: (result: object) => void}>} */
const open = new Map();
/** Answers that overtook the POST's own answer. @type {Map<string, object>} */
const early = new Map();

/**
 * @param {{type: number, data: object, message_id?: string, files?: File[], channel_id?: string}} what
 * @returns {Promise<{ok: boolean, id?: string, reason?: string, choices?: object[], modal?: object}>} never rejects;
 *   `reason` is a sentence
 */
export async function interact({ type, data, message_id, files = [], channel_id = state.current }) {
  let id;
  try {
    ({ id } = await postInteraction(
      { as: state.me.id, type, channel_id, locale, ...(message_id ? { message_id } : {}), data },
      files,
    ));
  } catch (error) {
    return { ok: false, reason: error.message };
  }
  return new Promise((resolve) => {
    const settle = (result) => {
      open.delete(id);
      resolve({ id, ...result });
    };
    if (early.has(id)) {
      const result = early.get(id);
      early.delete(id);
      settle(result);
    } else {
      open.set(id, { settle });
    }
  });
}

function settled(id, result) {
  const waiting = open.get(id);
  if (waiting) {
    waiting.settle(result);
    return;
  }
  if (early.has(id)) return; // a success after choices or a modal says nothing new
  early.set(id, result);
  setTimeout(() => early.delete(id), EARLY_MS);
}

/** Listens for the bot's answers. */
export function mountInteractions() {
  on("interaction:success", ({ id }) => settled(id, { ok: true }));
  on("interaction:failure", ({ id, reason }) => settled(id, { ok: false, reason: reason || t("interactionFailed") }));
  on("interaction:choices", ({ id, choices }) => settled(id, { ok: true, choices }));
  on("interaction:modal", (modal) => {
    settled(modal.id, { ok: true, modal });
    emit("modal", modal);
  });
  // What was open when the connection went will not be answered on the new one.
  on("connection", (connection) => {
    if (connection !== "lost" && connection !== "connecting") return;
    for (const { settle } of [...open.values()]) settle({ ok: false, reason: t("interactionFailed") });
  });
}
