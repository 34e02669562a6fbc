// What the page knows of the world, and who is told when it changes. Knows nothing of the DOM or the network.

/** Discord's numbers that the page acts on. */
export const ChannelType = {
  TEXT: 0,
  DM: 1,
  VOICE: 2,
  GROUP_DM: 3,
  CATEGORY: 4,
  NEWS: 5,
  NEWS_THREAD: 10,
  THREAD: 11,
  PRIVATE_THREAD: 12,
  FORUM: 15,
};
export const Permission = {
  VIEW: 1n << 10n,
  SEND: 1n << 11n,
  MANAGE_MESSAGES: 1n << 13n,
  ATTACH: 1n << 15n,
  COMMANDS: 1n << 31n,
  THREADS: 1n << 35n,
  SEND_IN_THREADS: 1n << 38n,
};
export const MessageFlag = { EPHEMERAL: 1 << 6, LOADING: 1 << 7, COMPONENTS_V2: 1 << 15 };

/**
 * @typedef {object} Log the known part of one channel's history
 * @property {object[]} messages oldest first
 * @property {boolean} complete whether nothing older exists
 */
export const state = {
  /** @type {object|null} the member who is writing */
  me: null,
  /** @type {Map<string, object>} */
  users: new Map(),
  guild: null,
  /** @type {Map<string, object>} guild channels, threads and DMs */
  channels: new Map(),
  commands: [],
  bot: { user: null, online: false },
  /** @type {string|null} the channel that is open */
  current: null,
  /** @type {Map<string, Log>} */
  logs: new Map(),
  /** @type {Map<string, Map<string, number>>} channel -> user -> when the typing notice ends, in ms */
  typing: new Map(),
  /** @type {Map<string, number>} channel -> messages not seen */
  unread: new Map(),
  /** @type {"connecting"|"open"|"lost"} */
  connection: "connecting",
};

const listeners = new Map();

/** @param {string} topic @param {(payload: any) => void} listener */
export function on(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, []);
  listeners.get(topic).push(listener);
}

/** @param {string} topic @param {any} [payload] */
export function emit(topic, payload) {
  for (const listener of listeners.get(topic) ?? []) listener(payload);
}

/** Takes over what `GET ui/state` answered. @param {object} world */
export function takeWorld(world) {
  state.me = world.me;
  state.users = new Map(world.users.map((user) => [user.id, user]));
  state.guild = world.guild;
  state.channels = new Map([...world.channels, ...world.threads, ...world.dms].map((entry) => [entry.id, entry]));
  state.commands = world.commands;
  state.bot = world.bot;
  if (world.bot?.user) state.users.set(world.bot.user.id, world.bot.user);
  emit("world");
}

/** @param {string} id @returns {object|undefined} */
export const channelOf = (id) => state.channels.get(id);

/** @returns {object|undefined} the channel that is open */
export const currentChannel = () => state.channels.get(state.current);

/** @param {object} channel @returns {boolean} */
export const isThread = (channel) =>
  [ChannelType.NEWS_THREAD, ChannelType.THREAD, ChannelType.PRIVATE_THREAD].includes(channel?.type);

/** @param {object} channel @returns {boolean} */
export const isDm = (channel) => channel?.type === ChannelType.DM || channel?.type === ChannelType.GROUP_DM;

/** @param {object} channel @param {bigint} bit @returns {boolean} whether the member may */
export function may(channel, bit) {
  if (!channel || channel.permissions === undefined || channel.permissions === null) return true;
  const granted = BigInt(channel.permissions);
  return (granted & bit) === bit || (granted & 8n) === 8n; // 8 is the administrator's bit
}

/** @param {string} channelId @returns {Log} */
export function logOf(channelId) {
  if (!state.logs.has(channelId)) state.logs.set(channelId, { messages: [], complete: false });
  return state.logs.get(channelId);
}

/** Order of two ids by age. @param {string} a @param {string} b @returns {number} */
export function compareIds(a, b) {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @param {string} channelId @param {string} messageId @returns {object|undefined} */
export const messageOf = (channelId, messageId) => logOf(channelId).messages.find((entry) => entry.id === messageId);

/** Adds or replaces a message at its place. @param {object} message @returns {boolean} whether it is new */
export function putMessage(message) {
  const { messages } = logOf(message.channel_id);
  let index = messages.length;
  while (index > 0 && compareIds(messages[index - 1].id, message.id) > 0) index -= 1;
  if (index > 0 && messages[index - 1].id === message.id) {
    messages[index - 1] = message;
    return false;
  }
  messages.splice(index, 0, message);
  return true;
}

/** @param {string} channelId @param {string} messageId @returns {boolean} whether it was there */
export function dropMessage(channelId, messageId) {
  const { messages } = logOf(channelId);
  const index = messages.findIndex((entry) => entry.id === messageId);
  if (index < 0) return false;
  messages.splice(index, 1);
  return true;
}
