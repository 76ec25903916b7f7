/**
 * Regular expressions of the stats configuration: RE2 syntax as users write it, run as JavaScript's. They only ever see names of
 * stats, so they need no bound on their steps. Translated: POSIX classes, `\A`, `\z`, `(?P<name>`, and flags at the start.
 */
const CLASSES: Record<string, string> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: ' \\t',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`{-~',
  space: '\\t-\\r ',
  upper: 'A-Z',
  word: '\\w',
  xdigit: '0-9A-Fa-f',
};

/** Finds the expression anywhere in a name, or the `whole` name. Throws RangeError when it is not valid. */
export function statRegex(regex: string, whole: boolean): RegExp {
  try {
    const start = /^\(\?([ims]+)\)/.exec(regex);
    const source = translate(start === null ? regex : regex.slice(start[0].length));
    return new RegExp(whole ? `^(?:${source})$` : source, start?.[1] ?? '');
  } catch (error) {
    throw new RangeError(`Invalid regex '${regex}': ${(error as Error).message}`);
  }
}

function translate(regex: string): string {
  return regex
    .replace(/\[:([a-z]+):\]/g, (text, name: string) => (Object.hasOwn(CLASSES, name) ? CLASSES[name] : text))
    .replace(/\\(.)/g, (text, c: string) => (c === 'A' ? '^' : c === 'z' ? '$' : text))
    .replaceAll('(?P<', '(?<');
}
