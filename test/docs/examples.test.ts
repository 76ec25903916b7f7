/** The examples are valid, the commands of the documentation exist, and its links lead somewhere. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exampleFiles } from '../../scripts/docs/examples.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = globSync('{*.md,docs/**/*.md,bench/*.md,examples/*.md,src/*.md}', { cwd: root });
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function sluice(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(root, 'bin/sluice'), ...args], { cwd: root, encoding: 'utf8', timeout: 60_000 });
}

describe('examples', () => {
  for (const file of exampleFiles()) {
    test(`${file} is valid`, () => {
      const path = `examples/${file}`;
      const { status, stdout, stderr } = sluice('proxy', '-c', path, '--mode', 'validate');
      assert.equal(stderr, '');
      assert.equal(stdout, `configuration '${path}' OK\n`);
      assert.equal(status, 0);
    });
  }
});

describe('commands in the documentation', () => {
  const text =
    documents.map(read).join('\n') +
    exampleFiles()
      .map((file) => read(`examples/${file}`))
      .join('\n');

  test('npm scripts exist', () => {
    const names = new Set([...text.matchAll(/\bnpm run ([a-z-]+)/g)].map((match) => match[1]));
    assert.ok(names.size > 0);
    for (const name of names) assert.ok(manifest.scripts[name] !== undefined, `npm run ${name}`);
    for (const name of ['start', 'test']) assert.ok(manifest.scripts[name] !== undefined, `npm ${name}`);
  });

  test('benches exist', () => {
    for (const [, name] of text.matchAll(/npm run bench -- ([a-z0-9-]+)/g)) {
      assert.ok(existsSync(join(root, 'bench', name, 'bench.ts')), name);
    }
  });

  test('scripts exist', () => {
    for (const [, file] of text.matchAll(/\b(?:node|sh) (scripts\/\S+\.(?:ts|sh))/g))
      assert.ok(existsSync(join(root, file)), file);
  });

  test('subcommands and flags of sluice exist', () => {
    const help = sluice('--help').stdout;
    const flags = new Map<string, string>();
    for (const [, command, rest] of text.matchAll(/npx sluice ([a-z]+)([^\n`|#]*)/g)) {
      assert.match(help, new RegExp(`^  ${command} `, 'm'), command);
      if (!flags.has(command)) flags.set(command, sluice(command, '--help').stdout);
      for (const [flag] of rest.matchAll(/--[a-z-]+/g)) assert.ok(flags.get(command)!.includes(flag), `${command} ${flag}`);
    }
    assert.ok(flags.has('proxy'));
  });

  test('configuration files exist', () => {
    for (const [, file] of text.matchAll(/npx sluice proxy -c (examples\/\S+)/g)) assert.ok(existsSync(join(root, file)), file);
  });
});

test('relative links lead somewhere', () => {
  const broken: string[] = [];
  for (const document of documents) {
    for (const [, target] of read(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, anchor] = target.split('#');
      const file = path === '' ? document : join(dirname(document), path);
      if (!existsSync(join(root, file))) broken.push(`${document}: ${target}`);
      else if (anchor !== undefined && !anchors(file).has(anchor)) broken.push(`${document}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

test('files that the architecture names exist', () => {
  const broken = [...read('docs/architecture.md').matchAll(/`([a-z0-9_/]+\.ts)`/g)]
    .map(([, name]) => name)
    .filter((name) => globSync(`src/**/${name}`, { cwd: root }).length === 0);
  assert.deepEqual(broken, []);
});

/** Headings as GitHub links them. */
function anchors(file: string): Set<string> {
  return new Set(
    [...read(file).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
