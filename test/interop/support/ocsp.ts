/** OCSP responses, signed by a CA with `openssl ocsp`, and what a client of openssl is shown of them. */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { openssl, type TestCertificate } from '../../support/certificates.ts';

const run = promisify(execFile);
let made = 0;

export function serialOf(certificate: TestCertificate): string {
  return openssl(['x509', '-noout', '-serial', '-in', certificate.certificateFile]).trim().split('=')[1];
}

/** The file of a response that `ca` gives for `certificates`; `next` is when there will be another. */
export function ocspResponse(
  directory: string,
  ca: TestCertificate,
  certificates: readonly TestCertificate[],
  next: 'in 7 days' | 'yesterday' | 'unsaid' = 'in 7 days',
): string {
  const base = `${directory}/ocsp-${made++}`;
  const lines = certificates.map(
    (certificate, i) => `V\t400101000000Z\t\t${serialOf(certificate)}\tunknown\t/O=Sluice/CN=${i}\n`,
  );
  writeFileSync(`${base}.txt`, lines.join(''));
  const signer = ['-CA', ca.certificateFile, '-rsigner', ca.certificateFile, '-rkey', ca.keyFile, '-issuer', ca.certificateFile];
  execFileSync(
    'openssl',
    [
      ...['ocsp', '-index', `${base}.txt`, ...signer],
      ...certificates.flatMap((certificate) => ['-cert', certificate.certificateFile]),
      ...['-respout', `${base}.der`, ...(next === 'unsaid' ? [] : ['-ndays', '7'])],
    ],
    { stdio: 'pipe' },
  );
  if (next === 'yesterday') writeFileSync(`${base}.der`, expired(readFileSync(`${base}.der`)));
  return `${base}.der`;
}

/** `openssl ocsp` has no past: the time is written over. The signature is wrong then, but nobody gets to see it. */
function expired(der: Buffer): Buffer {
  const text = der.toString('latin1');
  const [last] = [...text.matchAll(/\x18\x0f\d{14}Z/g)].slice(-1);
  const yesterday = new Date(Date.now() - 86_400_000).toISOString().replace(/[-:T]|\.\d+Z/g, '');
  der.write(`${yesterday}Z`, last.index + 2, 'latin1');
  return der;
}

export interface ShownByClient {
  readonly connected: boolean;
  /** '' when nothing was stapled. */
  readonly status: string;
  /** Of the certificate, as `serialOf`. */
  readonly serial: string;
  readonly text: string;
}

/** A handshake of `openssl s_client`, which asks for a response or does not. */
export async function ocspClient(port: number, ask: boolean, args: readonly string[] = []): Promise<ShownByClient> {
  const command = ['s_client', '-connect', `127.0.0.1:${port}`, ...(ask ? ['-status'] : []), ...args];
  const child = run('openssl', command, { timeout: 20_000 });
  child.child.stdin!.end();
  const text = await child.then(
    ({ stdout, stderr }) => stdout + stderr,
    (error) => `${error.stdout}${error.stderr}`,
  );
  const pem = /Server certificate\n(-----BEGIN[^-]*-----[^-]*-----END CERTIFICATE-----)/.exec(text)?.[1];
  return {
    connected: /Cipher is (?!\(NONE\))/.test(text),
    status: /Cert Status: (\w+)/.exec(text)?.[1] ?? '',
    serial: pem === undefined ? '' : openssl(['x509', '-noout', '-serial'], pem).trim().split('=')[1],
    text,
  };
}
