/** A name server on loopback that answers from a table a test may change. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { ipAddress } from '../../../src/proxy/network/address.ts';

export interface Answer {
  readonly ips: readonly string[];
  readonly ttl: number;
  /** 2: SERVFAIL, 3: NXDOMAIN. */
  readonly rcode?: number;
}

export interface DnsServer {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** By `name A` and `name AAAA`. What is not there does not exist. */
  readonly answers: Map<string, Answer>;
  readonly questions: string[];
  close(): void;
}

const A = 1;
const AAAA = 28;

export async function startDnsServer(): Promise<DnsServer> {
  const socket = createSocket('udp4');
  const answers = new Map<string, Answer>();
  const questions: string[] = [];
  socket.on('message', (query, from) => {
    const labels: string[] = [];
    let at = 12;
    while (query[at] !== 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
      at += query[at] + 1;
    }
    const type = query.readUInt16BE(at + 1);
    const key = `${labels.join('.')} ${type === A ? 'A' : type === AAAA ? 'AAAA' : type}`;
    questions.push(key);
    const answer = answers.get(key) ?? { ips: [], ttl: 0, rcode: 3 };
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8180 | (answer.rcode ?? 0), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answer.ips.length, 6);
    const records = answer.ips.map((ip) => {
      const bytes = ipAddress(ip, 0).bytes;
      const record = Buffer.alloc(12);
      record.writeUInt16BE(0xc00c, 0);
      record.writeUInt16BE(type, 2);
      record.writeUInt16BE(1, 4);
      record.writeUInt32BE(answer.ttl, 6);
      record.writeUInt16BE(bytes.length, 10);
      return Buffer.concat([record, bytes]);
    });
    socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...records]), from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { address: `127.0.0.1:${socket.address().port}`, answers, questions, close: () => socket.close() };
}
