/** Certificates for tests, made with the openssl program in a directory that goes with the test process. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestCertificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** Such as `DNS:a.example,URI:spiffe://a`. */
  readonly san?: string;
  readonly type?: 'ec' | 'rsa';
  /** Signs itself without one. */
  readonly issuer?: TestCertificate;
  readonly isCa?: boolean;
  /** Default 30; negative: expired. */
  readonly days?: number;
  /** More, as lines of the section of a configuration of openssl. */
  readonly extensions?: readonly string[];
}

export class CertificateFactory {
  readonly directory = mkdtempSync(join(tmpdir(), 'sluice-certs-'));
  private made = 0;

  constructor() {
    process.on('exit', () => rmSync(this.directory, { recursive: true, force: true }));
  }

  make(commonName: string, options: CertificateOptions = {}): TestCertificate {
    const { san, type = 'ec', issuer, isCa = false, days = 30 } = options;
    const base = join(this.directory, `${this.made++}`);
    const keyFile = `${base}.key.pem`;
    const certificateFile = `${base}.pem`;
    const algorithm = type === 'ec' ? ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];
    openssl(['genpkey', '-quiet', '-algorithm', ...algorithm, '-out', keyFile]);
    const extensions = [`basicConstraints=critical,CA:${isCa ? 'TRUE' : 'FALSE'}`, 'subjectKeyIdentifier=hash'];
    if (isCa) extensions.push('keyUsage=critical,keyCertSign,cRLSign');
    if (san !== undefined) extensions.push(`subjectAltName=${san}`);
    extensions.push(...(options.extensions ?? []));
    writeFileSync(`${base}.ext`, `[x]\n${extensions.join('\n')}\n`);
    openssl(['req', '-new', '-key', keyFile, '-subj', `/O=Sluice/CN=${commonName}`, '-out', `${base}.csr`]);
    const signer =
      issuer === undefined ? ['-key', keyFile] : ['-CA', issuer.certificateFile, '-CAkey', issuer.keyFile, '-CAcreateserial'];
    const dates = days >= 0 ? ['-days', String(days)] : ['-days', String(days)];
    openssl([
      ...['x509', '-req', '-in', `${base}.csr`, '-extfile', `${base}.ext`, '-extensions', 'x', '-sha256'],
      ...dates,
      ...signer,
      ...['-out', certificateFile],
    ]);
    return {
      certificateFile,
      keyFile,
      certificate: readFileSync(certificateFile, 'utf8'),
      key: readFileSync(keyFile, 'utf8'),
    };
  }
}

export function openssl(args: readonly string[], input?: string): string {
  return execFileSync('openssl', args, {
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(input === undefined ? {} : { input }),
  });
}
