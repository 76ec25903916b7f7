/**
 * Writes the generated parts of the documentation: what stands between `<!-- name -->` and `<!-- /name -->`. They come from the
 * tables that the program itself runs on, so they cannot drift; `test/docs/generated.test.ts` checks that they are up to date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatFlags } from '../src/cli/flags.ts';
import { PROXY_FLAGS } from '../src/cli/proxy.ts';
import { LOG_COMPONENTS } from '../src/core/log/logger.ts';
import { OPERATORS } from '../src/proxy/access_log/format_parser.ts';
import { EXTENSION_POINTS, SUPPORTED_ENUM_VALUES, SUPPORTED_FIELDS } from '../src/proxy/config/supported.ts';
import { ADMIN_HANDLERS } from '../src/proxy/server/admin/handlers.ts';
import { exampleList } from './docs/examples.ts';
import { mistakes } from './docs/mistakes.ts';
import { PEER_ROWS } from './docs/peers.ts';

export const ROOT = new URL('../', import.meta.url);

type Generator = () => string;

/** File -> section -> its text. */
export const SECTIONS: Record<string, Record<string, Generator>> = {
  'README.md': { features: peerTable },
  'docs/features.md': {
    peers: peerTable,
    extensions: extensionTable,
    fields: fieldList,
    operators: operatorList,
    admin: adminTable,
  },
  'docs/configuration.md': { flags: flagText, mistakes },
  'docs/operations.md': { admin: adminTable, components: () => words(LOG_COMPONENTS) },
  'examples/README.md': { examples: exampleList },
};

/** The file's text with its sections as they should be. Throws when a section's marks are missing. */
export function withSections(file: string): { before: string; after: string } {
  const before = readFileSync(new URL(file, ROOT), 'utf8');
  let after = before;
  for (const [name, generate] of Object.entries(SECTIONS[file])) {
    const open = `<!-- ${name} -->`;
    const close = `<!-- /${name} -->`;
    const start = after.indexOf(open);
    const end = after.indexOf(close);
    if (start < 0 || end < start) throw new Error(`${file} has no section ${open} ... ${close}`);
    after = `${after.slice(0, start + open.length)}\n${generate()}\n${after.slice(end)}`;
  }
  return { before, after };
}

function peerTable(): string {
  const rows = PEER_ROWS.map((row) => [
    row.feature,
    row.sluice === 'no' ? '**not yet**' : row.sluice,
    row.envoy,
    row.nginx,
    row.haproxy,
    row.vpp,
  ]);
  return table(['', 'Sluice', 'Envoy', 'nginx', 'HAProxy', 'VPP'], rows);
}

function extensionTable(): string {
  const rows = Object.entries(EXTENSION_POINTS).map(([point, types]) => {
    const list = types.trim().split(/\s+/);
    return [`\`${shortName(point)}\``, list.map((type) => `\`${type}\``).join('<br>')];
  });
  return table(['where', 'what can be named'], rows);
}

function fieldList(): string {
  const lines = Object.entries(SUPPORTED_FIELDS).map(([message, fields]) => {
    const names = fields.trim() === '' ? [] : fields.trim().split(/\s+/);
    return `- \`${message}\`: ${names.length === 0 ? 'no fields' : words(names)}`;
  });
  const enums = Object.entries(SUPPORTED_ENUM_VALUES).map(
    ([name, values]) => `- \`${name}\`: ${words(values.trim().split(/\s+/))}`,
  );
  return `${lines.join('\n')}\n\nEnums of which not every value is supported:\n\n${enums.join('\n')}`;
}

function operatorList(): string {
  return words(Object.keys(OPERATORS).sort());
}

function adminTable(): string {
  const rows = ADMIN_HANDLERS.map((handler) => [
    `\`${handler.path}\``,
    handler.mutates ? 'POST' : 'GET',
    handler.help,
    handler.params.filter((param) => param !== '*').join(', '),
  ]);
  return table(['path', 'method', 'what it does', 'parameters'], rows);
}

function flagText(): string {
  return `\`\`\`text\n${formatFlags(PROXY_FLAGS)}\n\`\`\``;
}

/** The last two parts of a field's full name. */
function shortName(point: string): string {
  return point.split('.').slice(-2).join('.');
}

function words(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of Object.keys(SECTIONS)) {
    const { before, after } = withSections(file);
    if (before !== after) writeFileSync(new URL(file, ROOT), after);
    process.stdout.write(`${file}: ${before === after ? 'up to date' : 'written'}\n`);
  }
}
