/** Our engine and raw OpenSSL in one process, rounds alternating: records of 16 KB and of 1 KB, handshakes full and resumed. */
import { readFileSync } from 'node:fs';
import { Slab } from '../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../src/core/buffer/slice_buffer.ts';
import { ClientTls } from '../../src/core/tls/client.ts';
import { EMPTY_HELLO } from '../../src/core/tls/client_hello.ts';
import { HANDSHAKE_DONE, type TlsEngine } from '../../src/core/tls/engine.ts';
import { ServerTls } from '../../src/core/tls/server.ts';
import type { CommonTlsSettings } from '../../src/core/tls/settings.ts';
import { median } from '../lib/processes.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';
import { RawOpenSsl } from './raw_openssl.ts';

const slab = new Slab(1024);

class OurTls {
  private readonly server: ServerTls;
  private readonly client: ClientTls;
  private readonly source: bigint;
  private readonly buffer = new SliceBuffer(slab);

  constructor(certificateFile: string, keyFile: string) {
    const common: CommonTlsSettings = {
      minVersion: 'TLSv1_3',
      maxVersion: 'TLSv1_3',
      cipherSuites: [],
      curves: [],
      signatureAlgorithms: [],
      alpn: [],
      certificates: [],
      validation: null,
      keyLog: null,
    };
    const certificates = [
      { chain: readFileSync(certificateFile), key: readFileSync(keyFile), password: null, pkcs12: null, ocspStaple: null },
    ];
    this.server = new ServerTls({
      ...common,
      certificates,
      requireClientCertificate: false,
      preferClientCiphers: false,
      statelessResumption: true,
      statefulResumption: true,
      ticketKeys: [],
      sessionTimeoutSeconds: 7200,
      fullScanOnSniMismatch: false,
      ocspStaplePolicy: 'LENIENT_STAPLING',
    });
    this.client = new ClientTls({ ...common, sni: '', maxSessionKeys: 2, enforceRsaKeyUsage: false });
    this.source = BigInt(slab.address + slab.allocatePermanent());
  }

  /** Sessions of earlier connections are resumed when `name` is theirs. */
  handshake(name: string): { client: TlsEngine; server: TlsEngine } {
    const client = this.client.connect({ serverName: name, alpn: [], verifyNames: [] });
    const server = this.server.accept({ ...EMPTY_HELLO, serverName: name });
    client.setInput(slab.address, 0);
    for (let i = 0; i < 4; i++) {
      const a = client.handshake();
      this.give(client, server);
      const b = server.handshake();
      this.give(server, client);
      if (a === HANDSHAKE_DONE && b === HANDSHAKE_DONE) break;
    }
    client.read(slab);
    this.buffer.clear();
    return { client, server };
  }

  free({ client, server }: { client: TlsEngine; server: TlsEngine }): void {
    client.free();
    server.free();
  }

  transfer({ client, server }: { client: TlsEngine; server: TlsEngine }, length: number): void {
    const record = server.write(slab, this.source, length);
    const at = server.offset;
    client.setInput(slab.address + at, record);
    if (client.read(slab) !== length) throw new Error('short read');
    slab.release(client.offset);
    slab.release(at);
  }

  private give(from: TlsEngine, to: TlsEngine): void {
    this.buffer.clear();
    from.takeOutput(this.buffer);
    if (this.buffer.length === 0) to.setInput(slab.address, 0);
    else {
      const length = this.buffer.length;
      to.setInput(slab.address + this.buffer.linearize(length), length);
    }
  }
}

/** Operations per second of each. */
function rates(options: BenchOptions, ours: () => void, raw: () => void): { ours: number; raw: number } {
  const measure = (run: () => void): number => {
    const end = performance.now() + Math.min(1000, options.seconds * 300);
    const start = performance.now();
    let n = 0;
    while (performance.now() < end) {
      for (let i = 0; i < 16; i++) run();
      n += 16;
    }
    return (n / (performance.now() - start)) * 1000;
  };
  measure(ours);
  measure(raw);
  const samples = { ours: [] as number[], raw: [] as number[] };
  for (let round = 0; round < options.rounds * 2; round++) {
    samples.ours.push(measure(ours));
    samples.raw.push(measure(raw));
  }
  return { ours: median(samples.ours), raw: median(samples.raw) };
}

export function engineRows(options: BenchOptions, certificateFile: string, keyFile: string): Row[] {
  const ours = new OurTls(certificateFile, keyFile);
  const raw = new RawOpenSsl(certificateFile, keyFile);
  const rows: Row[] = [];
  const ourPair = ours.handshake('bulk');
  const rawPair = raw.handshake(false);
  for (const length of [16_128, 1024]) {
    const result = rates(
      options,
      () => ours.transfer(ourPair, length),
      () => raw.transfer(rawPair, length),
    );
    rows.push(
      row({
        case: `engine: records of ${length} bytes, encrypt + decrypt`,
        unit: 'GB/s',
        better: 'higher',
        ours: (result.ours * length) / 1e9,
        peers: { openssl: (result.raw * length) / 1e9 },
        target: { peer: 'openssl', ratio: 0.91 },
      }),
    );
  }
  let n = 0;
  const full = rates(
    options,
    () => ours.free(ours.handshake(`n${n++}`)),
    () => raw.free(raw.handshake(false)),
  );
  const resumed = rates(
    options,
    () => ours.free(ours.handshake('resumed')),
    () => raw.free(raw.handshake(true)),
  );
  for (const [name, result] of [
    ['full', full],
    ['resumed', resumed],
  ] as const) {
    rows.push(
      row({
        case: `engine: handshakes, ${name}, both ends`,
        unit: '1/s',
        better: 'higher',
        ours: result.ours,
        peers: { openssl: result.raw },
        target: { peer: 'openssl', ratio: 0.91 },
      }),
    );
  }
  return rows;
}
