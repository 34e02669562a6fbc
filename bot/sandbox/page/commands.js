// The bot's commands as the picker lists them (every subcommand a full path), and as Discord's gateway sends them.

import { localDescription, localName } from "./i18n.js";
import { state, isDm } from "./state.js";

/** Discord's option types. */
export const OptionType = {
  SUB: 1,
  GROUP: 2,
  STRING: 3,
  INTEGER: 4,
  BOOLEAN: 5,
  USER: 6,
  CHANNEL: 7,
  ROLE: 8,
  MENTIONABLE: 9,
  NUMBER: 10,
  ATTACHMENT: 11,
};

/**
 * @typedef {object} Entry one thing that can be invoked
 * @property {object} command the top-level command
 * @property {object[]} chain groups and subcommand below it, outermost first
 * @property {string} path canonical, e.g. "stories memory set"
 * @property {string} title the path in the reader's language
 * @property {string} description
 * @property {object[]} options
 */

/** @param {object} channel @returns {Entry[]} every slash command that may be used there */
export function slashEntries(channel) {
  return state.commands
    .filter((command) => (command.type ?? 1) === 1 && fits(command, channel))
    .flatMap((command) => entriesOf(command))
    .sort((a, b) => a.path.localeCompare(b.path));
}

/** @param {2|3} type user or message commands @param {object} channel @returns {object[]} */
export const menuCommands = (type, channel) =>
  state.commands.filter((command) => command.type === type && fits(command, channel));

// A command says where it works: 0 a server, 1 a DM with the bot, 2 other DMs.
function fits(command, channel) {
  if (!isDm(channel)) return !command.contexts || command.contexts.includes(0);
  const withBot = channel.recipients?.some((user) => user.id === state.bot.user?.id);
  if (command.contexts) return command.contexts.includes(withBot ? 1 : 2);
  return withBot && command.dm_permission !== false;
}

function entriesOf(command, chain = []) {
  const here = chain.at(-1) ?? command;
  const nested = (here.options ?? []).filter(
    (option) => option.type === OptionType.SUB || option.type === OptionType.GROUP,
  );
  if (nested.length) return nested.flatMap((option) => entriesOf(command, [...chain, option]));
  const parts = [command, ...chain];
  return [
    {
      command,
      chain,
      path: parts.map((part) => part.name).join(" "),
      title: parts.map(localName).join(" "),
      description: localDescription(here),
      options: here.options ?? [],
    },
  ];
}

/**
 * @param {Entry[]} entries
 * @param {string} query without the slash
 * @returns {Entry[]} those it finds, best first
 */
export function findEntries(entries, query) {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return entries;
  const rank = ({ path, title, description }) => {
    const names = [path.toLowerCase(), title.toLowerCase()];
    if (names.some((name) => name.startsWith(wanted))) return 0;
    if (names.some((name) => name.split(" ").some((word) => word.startsWith(wanted)))) return 1;
    if (names.some((name) => name.includes(wanted))) return 2;
    return wanted.length > 2 && description.toLowerCase().includes(wanted) ? 3 : 9;
  };
  const ranked = entries.map((entry) => [rank(entry), entry]);
  const best = Math.min(...ranked.map(([at]) => at));
  return ranked
    .filter(([at]) => at < (best < 3 ? 3 : 9)) // a description counts only where no name fits
    .sort(([a], [b]) => a - b)
    .map(([, entry]) => entry);
}

/**
 * The command that a typed text begins with, once a space ends its name.
 * @param {Entry[]} entries
 * @param {string} text with the slash
 * @returns {{entry: Entry, rest: string}|null}
 */
export function typedEntry(entries, text) {
  const lower = text.slice(1).toLowerCase();
  const match = entries
    .flatMap((entry) => [
      [entry, entry.path],
      [entry, entry.title],
    ])
    .filter(([, name]) => lower.startsWith(`${name.toLowerCase()} `))
    .sort(([, a], [, b]) => b.length - a.length)[0];
  return match ? { entry: match[0], rest: text.slice(1 + match[1].length + 1) } : null;
}

/**
 * @param {Entry} entry
 * @param {{name: string, type: number, value: any, focused?: boolean}[]} values
 * @param {string[]} [filenames] what attachment values name by index
 * @returns {object} the interaction's `data`
 */
export function dataOf({ command, chain }, values, filenames = []) {
  let options = values;
  for (const part of [...chain].reverse()) options = [{ name: part.name, type: part.type, options }];
  return {
    id: command.id,
    name: command.name,
    type: 1,
    options,
    ...(filenames.length ? { attachments: filenames.map((filename, index) => ({ id: String(index), filename })) } : {}),
  };
}
