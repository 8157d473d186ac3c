import { QmpError } from '../../schema/error.js';
import type { Machine } from '../machine/machine.js';
import { CommandLineError } from '../options/keyval.js';
import { monitorCommands, type MonitorClient, type MonitorCommand } from './commands.js';
import { LineError } from './flags.js';
import { infoCommands } from './info.js';

/**
 * The human monitor: one line in, text out. Its errors are text, too.
 *
 * @see reference/qmp-protocol.md §8.1 human-monitor-command
 */

type Commands = readonly MonitorCommand[];

const helpLine = (prefix: string, { names, parameters, help }: MonitorCommand): string =>
  `${prefix}${names.join('|')} ${parameters} -- ${help}\n`;

const helpOf = (prefix: string, commands: Commands): string =>
  commands
    .toSorted((a, b) => ((a.names[0] ?? '') < (b.names[0] ?? '') ? -1 : 1))
    .map((entry) => helpLine(prefix, entry))
    .join('');

const find = (commands: Commands, name: string | undefined): MonitorCommand | undefined =>
  commands.find(({ names }) => name !== undefined && names.includes(name));

const unknown = (words: readonly string[]): string => `unknown command: '${words.join(' ')}'\n`;

const HELP: MonitorCommand = {
  names: ['help', '?'],
  parameters: '[cmd]',
  help: 'explain the commands, or one of them',
  argument: 'optional',
  run: (_, words) => {
    const [first, second] = words.split(/\s+/).filter((word) => word !== '');
    if (first === undefined) return helpOf('', ALL);
    if (first === 'info' && second === undefined) return helpOf('info ', infoCommands);
    if (first === 'info') {
      const entry = find(infoCommands, second);
      return entry === undefined ? unknown([first, second ?? '']) : helpLine('info ', entry);
    }
    const entry = find(ALL, first);
    return entry === undefined ? unknown([first]) : helpLine('', entry);
  },
};
const INFO: MonitorCommand = {
  names: ['info'],
  parameters: '[subcommand]',
  help: 'show one part of the state of the machine',
  argument: 'optional',
  run: () => helpOf('info ', infoCommands),
};
const ALL: Commands = [...monitorCommands, HELP, INFO];

/** The command that a line names, the words that name it, and what follows them. */
const parse = (
  line: string,
): { entry: MonitorCommand | undefined; words: string[]; rest: string } => {
  const [, first = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(line) ?? [];
  if (first !== 'info' || rest === '') return { entry: find(ALL, first), words: [first], rest };
  const [, second = '', after = ''] = /^(\S+)\s*(.*)$/s.exec(rest) ?? [];
  return { entry: find(infoCommands, second), words: [first, second], rest: after };
};

/** Why `entry` cannot take `rest`; undefined when it can. */
const complaint = (entry: MonitorCommand, rest: string): string | undefined => {
  if (entry.argument === undefined && rest !== '')
    return 'extraneous characters at the end of line';
  const { argument = '' } = entry;
  if (['required', 'word'].includes(argument) && rest === '') return 'string expected';
  if (['word', 'optional-word'].includes(argument) && /\s/.test(rest))
    return 'extraneous characters at the end of line';
  return undefined;
};

/**
 * Runs one line.
 *
 * @param client who sent the line
 * @returns what the monitor prints, with LF
 */
export const runLine = async (
  machine: Machine,
  line: string,
  client: MonitorClient,
): Promise<string> => {
  const { entry, words, rest } = parse(line);
  if (words[0] === '') return '';
  if (entry === undefined) return unknown(words);
  const wrong = complaint(entry, rest);
  const hint = (problem: string): string =>
    `${entry.names.join('|')}: ${problem}\nTry "help ${words.join(' ')}" for more information\n`;
  if (wrong !== undefined) return hint(wrong);
  try {
    return await entry.run(machine, rest, client);
  } catch (error) {
    if (error instanceof LineError) return hint(error.message);
    if (error instanceof QmpError) return `Error: ${error.message}\n`;
    if (error instanceof CommandLineError) return `Error: ${error.problem}\n`;
    throw error;
  }
};
