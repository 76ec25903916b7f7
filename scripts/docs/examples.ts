/** The list of examples: each file's first comment line. */
import { readdirSync, readFileSync } from 'node:fs';

const directory = new URL('../../examples/', import.meta.url);

export function exampleFiles(): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .sort();
}

/** One line each: a link and the first sentence of its head comment. */
export function exampleList(): string {
  return exampleFiles()
    .map((name) => `- [${name}](${name}): ${firstSentence(readFileSync(new URL(name, directory), 'utf8'), name)}`)
    .join('\n');
}

function firstSentence(text: string, name: string): string {
  const comment: string[] = [];
  for (const line of text.split('\n')) {
    if (!line.startsWith('# ')) break;
    comment.push(line.slice(2));
  }
  const sentence = /^.*?[.](?=\s|$)/.exec(comment.join(' '));
  if (sentence === null) throw new Error(`examples/${name} does not begin with a comment that says what it is`);
  return sentence[0];
}
