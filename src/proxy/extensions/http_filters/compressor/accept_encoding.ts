/**
 * Which of the compressors of a chain a request's `accept-encoding` chooses (Envoy: CompressorFilter::chooseEncoding). Qualities are
 * compared; between equal ones the header's order decides, or with `choose_first` the chain's.
 */

export const AcceptResult = {
  /** There is no such header. */
  None: 'no_accept_header',
  /** The client prefers the body as it is, or accepts nothing that there is. */
  Identity: 'header_identity',
  Wildcard: 'header_wildcard',
  /** Nothing in it can be used. */
  NotValid: 'header_not_valid',
  Chosen: 'header_compressor_used',
} as const;
export type AcceptResult = (typeof AcceptResult)[keyof typeof AcceptResult];

export interface Choice {
  /** '' for none. */
  readonly encoding: string;
  readonly result: AcceptResult;
}

/** `available`: encodings of the chain's compressors that would compress this response, in configured order. */
export function chooseEncoding(
  header: string | undefined,
  available: readonly string[],
  chooseFirst: ReadonlySet<string>,
): Choice {
  if (header === undefined) return { encoding: '', result: AcceptResult.None };
  let best: { name: string; quality: number } | null = null;
  for (const part of header.split(',')) {
    const [token, ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    const quality = qualityOf(parameters);
    if (quality === undefined || (token !== '*' && token !== 'identity' && !available.includes(token))) continue;
    const better =
      best === null ||
      quality > best.quality ||
      (quality === best.quality && isPreferred(token, best.name, available, chooseFirst));
    if (better) best = { name: token, quality };
  }
  if (best === null || best.quality === 0) {
    const result = best === null ? AcceptResult.NotValid : AcceptResult.Identity;
    return { encoding: '', result };
  }
  if (best.name === 'identity') return { encoding: '', result: AcceptResult.Identity };
  if (best.name === '*') return { encoding: available[0] ?? '', result: AcceptResult.Wildcard };
  return { encoding: best.name, result: AcceptResult.Chosen };
}

/** Undefined: not a quality, the token does not count. */
function qualityOf(parameters: readonly string[]): number | undefined {
  for (const parameter of parameters) {
    if (!parameter.startsWith('q=')) continue;
    return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(parameter.slice(2)) ? Number(parameter.slice(2)) : undefined;
  }
  return 1;
}

function isPreferred(token: string, other: string, available: readonly string[], chooseFirst: ReadonlySet<string>): boolean {
  if (!chooseFirst.has(token) || !available.includes(other)) return false;
  return available.indexOf(token) < available.indexOf(other);
}
