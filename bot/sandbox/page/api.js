// The page's HTTP calls to the sandbox, all relative to the capability path it was opened under.

/** An answer other than success; its message is a sentence for the person. */
export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const root = new URL("ui/", document.baseURI);

/** @param {string|null} as @returns {Promise<object>} the world as that member sees it */
export const fetchState = (as) => get("state", as ? { as } : {});

/**
 * @param {string} as
 * @param {string} channel
 * @param {string} [before] only messages older than this id
 * @param {number} [limit]
 * @returns {Promise<object[]>} newest first
 */
export const fetchMessages = (as, channel, before, limit = 50) =>
  get(`channels/${channel}/messages`, { as, limit, ...(before ? { before } : {}) });

/**
 * @param {string} as
 * @param {string} channel
 * @param {{content: string, reply_to?: string, files?: {file: File, description?: string}[]}} message
 * @returns {Promise<object>} the stored message
 */
export function postMessage(as, channel, { content, reply_to, files = [] }) {
  const payload = { as, content, ...(reply_to ? { reply_to } : {}) };
  if (files.length) {
    payload.attachments = files.map(({ file, description }, index) => ({
      id: String(index),
      filename: file.name,
      ...(description ? { description } : {}),
    }));
  }
  return post(
    `channels/${channel}/messages`,
    payload,
    files.map(({ file }) => file),
  );
}

/** @param {string} as @param {string} channel */
export const postTyping = (as, channel) => post(`channels/${channel}/typing`, { as });

/** @param {string} as @param {string} channel @param {string} message */
export async function deleteMessage(as, channel, message) {
  const url = new URL(`channels/${channel}/messages/${message}`, root);
  url.searchParams.set("as", as);
  await answer(await fetch(url, { method: "DELETE" }));
}

/** @param {object} channel `{as, name, type, parent_id?, message_id?, recipient?}` @returns {Promise<object>} */
export const postChannel = (channel) => post("channels", channel);

/**
 * @param {object} interaction `{as, type, channel_id, message_id?, data}`
 * @param {File[]} [files] what `data.attachments` names by index
 * @returns {Promise<{id: string}>}
 */
export const postInteraction = (interaction, files = []) => post("interactions", interaction, files);

/** @param {string} as @returns {string} the address of that member's event socket */
export function socketAddress(as) {
  const url = new URL("socket", root);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("as", as);
  return url.href;
}

async function get(path, query) {
  const url = new URL(path, root);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, String(value));
  return answer(await fetch(url, { headers: { accept: "application/json" } }));
}

async function post(path, payload, files = []) {
  const init = { method: "POST", headers: {} };
  if (files.length) {
    const form = new FormData();
    form.set("payload_json", JSON.stringify(payload));
    files.forEach((file, index) => form.set(`files[${index}]`, file, file.name));
    init.body = form;
  } else {
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(payload);
  }
  return answer(await fetch(new URL(path, root), init));
}

async function answer(response) {
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(body?.message ?? `${response.status} ${response.statusText}`, response.status);
  return body;
}
