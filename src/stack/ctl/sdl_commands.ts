/** `session sdl` and `show session sdl`, as vppctl's, but for the action, which is a word here. A namespace stands for its routing table. */
import type { HostStack } from '../host_stack.ts';
import { Endpoint, parsePrefix } from '../session/endpoint.ts';
import { describeSource, MAX_TAG, type SourceAction } from '../session/source_deny.ts';
import { type Command, CommandError, type Value } from './command.ts';

const USAGE = 'session sdl add|del [appns ID] [IP/PLEN] [action deny|allow] [tag T]';
const SHOW_USAGE = 'show session sdl [appns ID] [IP]';

export const SDL_COMMANDS: readonly Command[] = [
  { words: 'show session sdl', usage: SHOW_USAGE, run: showSdl },
  { words: 'session sdl', usage: USAGE, run: changeSdl },
];

interface Words {
  fib: number;
  verb: string;
  address: string;
  action: string;
  tag: string;
}

/** Words in any order. */
function parse(stack: HostStack, args: string[], usage: string): Words | CommandError {
  const words: Words = { fib: 0, verb: '', address: '', action: 'deny', tag: '' };
  let namespace = 'default';
  for (let i = 0; i < args.length; i++) {
    const word = args[i];
    if ((word === 'add' || word === 'del') && words.verb === '' && usage === USAGE) words.verb = word;
    else if (word === 'appns') namespace = args[++i] ?? '';
    else if (word === 'action' && usage === USAGE) words.action = args[++i] ?? '';
    else if (word === 'tag' && usage === USAGE) words.tag = args[++i] ?? '';
    else if (words.address === '') words.address = word;
    else return new CommandError(`usage: ${usage}`);
  }
  const found = stack.namespaces.get(namespace);
  if (found === undefined) return new CommandError(`no namespace '${namespace}'`);
  words.fib = found.fib;
  return words;
}

function changeSdl(stack: HostStack, args: string[]): Value | CommandError {
  const words = parse(stack, args, USAGE);
  if (words instanceof CommandError) return words;
  const { fib, verb, address, action, tag } = words;
  const { sourceDeny } = stack.layer;
  if (verb === '' || (address === '' && (verb === 'add' || tag === ''))) return new CommandError(`usage: ${USAGE}`);
  if (verb === 'del' && address === '') {
    return sourceDeny.deleteTag(fib, tag) > 0 ? {} : new CommandError(`no source with the tag '${tag}'`);
  }
  const prefix = parsePrefix(address);
  if (prefix === null) return new CommandError(`'${address}' is no prefix such as 10.0.0.0/8 or fd00::/8`);
  if (verb === 'del') return sourceDeny.delete(fib, prefix) ? {} : new CommandError(`no source ${address}`);
  if (action !== 'deny' && action !== 'allow') return new CommandError(`action is deny or allow, not '${action}'`);
  if (tag.length > MAX_TAG) return new CommandError(`a tag has at most ${MAX_TAG} characters`);
  const added = sourceDeny.add(fib, { prefix, action: action satisfies SourceAction, tag });
  return added ? {} : new CommandError(`there is a source ${address} already: delete it first`);
}

function showSdl(stack: HostStack, args: string[]): Value | CommandError {
  const words = parse(stack, args, SHOW_USAGE);
  if (words instanceof CommandError) return words;
  const { fib, address } = words;
  const { sourceDeny } = stack.layer;
  if (address === '') return sourceDeny.list(fib).map(describeSource);
  const source = Endpoint.parse(address, 0);
  if (source === null) return new CommandError(`'${address}' is no address`);
  const match = sourceDeny.match(fib, source);
  return match === null ? [] : [describeSource(match)];
}
