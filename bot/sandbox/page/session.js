// One member's sitting: loads their world, follows the socket, and loads it again after every lost connection.

import { fetchMessages, fetchState } from "./api.js";
import { openSocket } from "./socket.js";
import {
  state,
  on,
  emit,
  takeWorld,
  logOf,
  putMessage,
  dropMessage,
  compareIds,
  isThread,
  isDm,
  ChannelType,
} from "./state.js";

const PAGE_SIZE = 50;
const TYPING_MS = 9000; // Discord's typing notice lasts about so long
const STORE = "inkwell.sitting";

let socket = null;
let turn = 0; // tells answers to an earlier member's requests from ours
let held = null; // frames that came while the world was being loaded
const early = new Map(); // channel -> frames about its messages that came while its first page was on its way

/** Begins as the member of last time, or as the one the server proposes. */
export async function begin() {
  const world = await fetchState(remembered().member ?? null).catch((error) => {
    if (error.status === 400 || error.status === 403 || error.status === 404) return fetchState(null);
    throw error;
  });
  sitDown(world.me.id);
}

/** @param {string} userId the member to write as from now on */
export function sitDown(userId) {
  turn += 1;
  socket?.close();
  state.logs.clear();
  state.current = null;
  state.unread.clear();
  state.typing.clear();
  early.clear();
  state.me = state.users.get(userId) ?? null;
  remember({ member: userId });
  setConnection("connecting");
  const mine = turn;
  held = [];
  socket = openSocket(userId, {
    onOpen: () => load(userId, mine),
    onLost: () => {
      held = [];
      setConnection("lost");
    },
    onFrame: (frame) => (held ? held.push(frame) : apply(frame)),
  });
}

async function load(userId, mine) {
  try {
    const world = await fetchState(userId);
    if (mine !== turn) return;
    takeWorld(world);
    const open = firstChannel();
    const logs = [...new Set([...state.logs.keys(), ...(open ? [open] : [])])];
    const pages = await Promise.all(
      logs.map((id) => (state.channels.has(id) ? fetchMessages(userId, id, undefined, PAGE_SIZE) : [])),
    );
    if (mine !== turn) return;
    const known = new Map(state.logs);
    state.logs.clear();
    logs.forEach((id, index) => takePage(id, pages[index], known.get(id)));
    const again = open !== null && state.current === open;
    setConnection("open");
    if (again) emit("resync", open);
    else openChannel(open, { keep: true });
    const waiting = held ?? [];
    held = null;
    waiting.forEach(apply);
  } catch (error) {
    if (mine === turn) emit("failure", error);
  }
}

/** Adds a page to a channel's log; of a log from before a lost connection, what joins on to the page is kept. */
function takePage(channelId, newestFirst, before = null) {
  const log = logOf(channelId);
  for (const message of [...newestFirst].reverse()) putMessage(message);
  log.complete = newestFirst.length < PAGE_SIZE;
  const oldest = newestFirst.at(-1);
  if (log.complete || !before?.messages.some((message) => message.id === oldest.id)) return;
  for (const message of before.messages) if (compareIds(message.id, oldest.id) < 0) putMessage(message);
  log.complete = before.complete;
}

/** Which channel to show: the address bar's, the last one, the first text channel. @returns {string|null} */
function firstChannel() {
  const wanted = [location.hash.slice(1), state.current, remembered().channels?.[state.me.id]];
  const found = wanted.find((id) => id && state.channels.has(id));
  return found ?? channelsInOrder().find((channel) => channel.type === ChannelType.TEXT)?.id ?? null;
}

/** @returns {object[]} channels of the server that are no threads, as the sidebar lists them */
export function channelsInOrder() {
  return [...state.channels.values()]
    .filter((channel) => !isThread(channel) && !isDm(channel) && channel.type !== ChannelType.CATEGORY)
    .sort((a, b) => (a.position ?? 0) - (b.position ?? 0) || compareIds(a.id, b.id));
}

/** @param {string|null} id @param {{keep?: boolean}} [how] keep: the log is fresh already */
export async function openChannel(id, { keep = false } = {}) {
  if (id === state.current && !keep) return;
  state.current = id;
  if (id) {
    state.unread.delete(id);
    const channels = { ...remembered().channels, [state.me.id]: id };
    remember({ channels });
    if (location.hash !== `#${id}`) history.replaceState(null, "", `#${id}`);
  }
  if (!id || keep || state.logs.has(id)) {
    emit("channel", id);
    return;
  }
  const mine = turn;
  emit("channel:loading", id);
  if (early.has(id)) return; // on its way already
  early.set(id, []);
  try {
    const page = await fetchMessages(state.me.id, id, undefined, PAGE_SIZE);
    if (mine !== turn) return;
    const frames = early.get(id);
    early.delete(id);
    takePage(id, page);
    if (state.current === id) emit("channel", id);
    frames.forEach(apply);
  } catch (error) {
    if (mine !== turn) return;
    early.delete(id);
    emit("notice", { text: error.message, kind: "problem" });
  }
}

let loadingOlder = false;
/** Fetches the page before the oldest known message. @returns {Promise<boolean>} whether something came */
export async function loadOlder() {
  const channelId = state.current;
  const log = channelId && logOf(channelId);
  if (!log || log.complete || loadingOlder || !log.messages.length) return false;
  loadingOlder = true;
  const mine = turn;
  try {
    const page = await fetchMessages(state.me.id, channelId, log.messages[0].id, PAGE_SIZE);
    if (mine !== turn) return false;
    takePage(channelId, page);
    if (state.current === channelId) emit("older", channelId);
    return page.length > 0;
  } catch (error) {
    emit("notice", { text: error.message, kind: "problem" });
    return false;
  } finally {
    loadingOlder = false;
  }
}

function setConnection(connection) {
  state.connection = connection;
  emit("connection", connection);
}

const FRAMES = {
  MESSAGE_CREATE(message) {
    learnUsers(message);
    const log = state.logs.get(message.channel_id);
    stopTyping(message.channel_id, message.author.id);
    if (log) {
      const fresh = putMessage(message);
      if (message.channel_id === state.current) emit(fresh ? "message:create" : "message:update", message);
    }
    if (message.author.id !== state.me.id && (message.channel_id !== state.current || document.hidden)) {
      state.unread.set(message.channel_id, (state.unread.get(message.channel_id) ?? 0) + 1);
      emit("unread");
    }
  },
  MESSAGE_UPDATE(message) {
    if (!state.logs.has(message.channel_id)) return;
    const oldest = logOf(message.channel_id).messages[0];
    if (oldest && compareIds(message.id, oldest.id) < 0) return; // beyond what was loaded
    const fresh = putMessage(message);
    if (message.channel_id === state.current) emit(fresh ? "message:create" : "message:update", message);
  },
  MESSAGE_DELETE({ id, channel_id }) {
    if (!state.logs.has(channel_id)) return;
    if (dropMessage(channel_id, id) && channel_id === state.current) emit("message:delete", id);
  },
  TYPING_START({ channel_id, user_id }) {
    if (user_id === state.me.id) return;
    if (!state.typing.has(channel_id)) state.typing.set(channel_id, new Map());
    state.typing.get(channel_id).set(user_id, Date.now() + TYPING_MS);
    emit("typing", channel_id);
    setTimeout(() => emit("typing", channel_id), TYPING_MS + 50);
  },
  COMMANDS_UPDATE({ commands }) {
    state.commands = commands;
    emit("commands");
  },
  BOT_STATUS({ online, user }) {
    state.bot = { ...state.bot, online, ...(user ? { user } : {}) };
    if (user) state.users.set(user.id, user);
    emit("bot");
  },
  INTERACTION_SUCCESS: (d) => emit("interaction:success", d),
  INTERACTION_FAILURE: (d) => emit("interaction:failure", d),
  INTERACTION_AUTOCOMPLETE: (d) => emit("interaction:choices", d),
  INTERACTION_MODAL: (d) => emit("interaction:modal", d),
};
for (const name of ["CHANNEL_CREATE", "CHANNEL_UPDATE", "THREAD_CREATE", "THREAD_UPDATE"]) FRAMES[name] = upsertChannel;
for (const name of ["CHANNEL_DELETE", "THREAD_DELETE"]) FRAMES[name] = removeChannel;

function apply({ t: name, d }) {
  const waiting = name.startsWith("MESSAGE_") && early.get(d.channel_id);
  if (waiting) waiting.push({ t: name, d });
  else FRAMES[name]?.(d);
}

function upsertChannel(channel) {
  state.channels.set(channel.id, { ...state.channels.get(channel.id), ...channel });
  for (const user of channel.recipients ?? []) state.users.set(user.id, { ...state.users.get(user.id), ...user });
  emit("channels");
}

function removeChannel({ id }) {
  state.channels.delete(id);
  state.logs.delete(id);
  emit("channels");
  if (state.current === id) openChannel(firstChannel());
}

function learnUsers(message) {
  for (const user of [message.author, ...(message.mentions ?? [])]) {
    if (user && !message.webhook_id && !state.users.has(user.id)) state.users.set(user.id, user);
  }
}

function stopTyping(channelId, userId) {
  if (state.typing.get(channelId)?.delete(userId)) emit("typing", channelId);
}

/** @param {string} channelId @returns {object[]} who is typing there now */
export function typingIn(channelId) {
  const now = Date.now();
  return [...(state.typing.get(channelId) ?? [])]
    .filter(([, end]) => end > now)
    .map(([id]) => state.users.get(id))
    .filter(Boolean);
}

/** Counts the open channel as read. */
export function readCurrent() {
  if (state.current && state.unread.delete(state.current)) emit("unread");
}

on("channel:wanted", (id) => openChannel(id));
window.addEventListener("hashchange", () => {
  const id = location.hash.slice(1);
  if (state.channels.has(id)) openChannel(id);
});

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
}

// Each tab keeps its own member (two tabs may write as two members); a new tab starts with the last one used.
function remember(change) {
  const text = JSON.stringify({ ...remembered(), ...change });
  try {
    sessionStorage.setItem(STORE, text);
    localStorage.setItem(STORE, text);
  } catch {
    // Storage may be switched off; the sitting is then forgotten on reload.
  }
}
