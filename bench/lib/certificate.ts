/** A self-signed P-256 certificate for benches: certificate, key, and both in one file (`.both`) as HAProxy wants it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export function makeCertificate(): { certificateFile: string; keyFile: string } {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-tls-'));
  const certificateFile = join(directory, 'certificate.pem');
  const keyFile = join(directory, 'key.pem');
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', keyFile, '-out', certificateFile],
    ],
    { stdio: 'ignore' },
  );
  // As HAProxy reads it.
  writeFileSync(`${certificateFile}.both`, readFileSync(certificateFile, 'utf8') + readFileSync(keyFile, 'utf8'));
  return { certificateFile, keyFile };
}
