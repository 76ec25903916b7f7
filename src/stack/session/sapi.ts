/**
 * Messages on the application socket (VPP: "sapi"): JSON in one packet each, descriptors beside it. Used to attach, to add workers, to
 * pass segments, and for commands; everything else travels in shared memory.
 *
 * `attach` and `addWorker` may carry a descriptor, which is closed once they are answered: by `attached` with [message queue segment,
 * eventfd of the stack, the hearing end of the worker's doorbell], or by `refused`. `segment` carries [segment, what rings the peer, the
 * hearing end of the bell that the peer rings]; without the last when the peer is the stack. With the segment alone it is for the bytes of
 * sessions that were another worker's before. Closing the socket detaches.
 *
 * `heir` carries the stack's end of a socket whose other end a process is born with: it is answered by `attached`, there, when the first
 * session is held for it (`Request.hold`), so that the stack knows of the new process before it runs and hears of its end.
 */

export interface AttachMessage {
  type: 'attach';
  layoutVersion: number;
  name: string;
  secret: string;
  rxFifoSize: number;
  txFifoSize: number;
  scopeLocal: boolean;
  scopeGlobal: boolean;
}

export interface AddWorkerMessage {
  type: 'addWorker';
  layoutVersion: number;
  appIndex: number;
  token: string;
}

export interface AttachedMessage {
  type: 'attached';
  appIndex: number;
  workerIndex: number;
  token: string;
  generation: number;
  pid: number;
}

export interface RefusedMessage {
  type: 'refused';
  code: number;
  reason: string;
}

export interface SegmentMessage {
  type: 'segment';
  id: number;
  side: number;
}

export interface HeirMessage {
  type: 'heir';
  id: number;
}

/** A process that has not attached has closed a listener that it was born with. */
export interface UnlistenMessage {
  type: 'unlisten';
  session: number;
  generation: number;
}

/** Carries a sealed memfd that holds a `CryptoConfig` as JSON. */
export interface CryptoConfigMessage {
  type: 'cryptoConfig';
  id: number;
  bytes: number;
}

export interface DropCryptoConfigMessage {
  type: 'dropCryptoConfig';
  id: number;
}

/** For connects; from `NAMES_ONCE` on for one of them. */
export interface ServerNameMessage {
  type: 'serverName';
  id: number;
  name: string;
}

/** What the handshake of a session settled, sent just before the notice of the session when its configuration wants it. */
export interface TlsDetailsMessage {
  type: 'tlsDetails';
  session: number;
  generation: number;
  serverName: string;
  version: string;
  cipher: string;
  resumed: boolean;
  /** DER in base64; '' when the peer showed none. */
  certificate: string;
}

export interface CommandMessage {
  type: 'command';
  command: string;
  json: boolean;
}

/** `more`: the text continues in the next packet. */
export interface ReplyMessage {
  type: 'reply';
  ok: boolean;
  text: string;
  more: boolean;
}

export type SapiMessage =
  | AttachMessage
  | AddWorkerMessage
  | AttachedMessage
  | RefusedMessage
  | SegmentMessage
  | HeirMessage
  | UnlistenMessage
  | CryptoConfigMessage
  | DropCryptoConfigMessage
  | ServerNameMessage
  | TlsDetailsMessage
  | CommandMessage
  | ReplyMessage;

type FieldType = 'string' | 'number' | 'boolean';

const SHAPES: Record<SapiMessage['type'], Record<string, FieldType>> = {
  attach: {
    layoutVersion: 'number',
    name: 'string',
    secret: 'string',
    rxFifoSize: 'number',
    txFifoSize: 'number',
    scopeLocal: 'boolean',
    scopeGlobal: 'boolean',
  },
  addWorker: { layoutVersion: 'number', appIndex: 'number', token: 'string' },
  attached: { appIndex: 'number', workerIndex: 'number', token: 'string', generation: 'number', pid: 'number' },
  refused: { code: 'number', reason: 'string' },
  segment: { id: 'number', side: 'number' },
  heir: { id: 'number' },
  unlisten: { session: 'number', generation: 'number' },
  cryptoConfig: { id: 'number', bytes: 'number' },
  dropCryptoConfig: { id: 'number' },
  serverName: { id: 'number', name: 'string' },
  tlsDetails: {
    session: 'number',
    generation: 'number',
    serverName: 'string',
    version: 'string',
    cipher: 'string',
    resumed: 'boolean',
    certificate: 'string',
  },
  command: { command: 'string', json: 'boolean' },
  reply: { ok: 'boolean', text: 'string', more: 'boolean' },
};

export function encodeSapi(message: SapiMessage): Buffer {
  return Buffer.from(JSON.stringify(message));
}

/** The message, or null when the packet is none. Never throws. */
export function decodeSapi(data: Buffer): SapiMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(data.toString('utf8'));
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const record = value as Record<string, unknown>;
  const type = record['type'];
  if (typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) return null;
  for (const [field, wanted] of Object.entries(SHAPES[type as SapiMessage['type']]))
    if (typeof record[field] !== wanted) return null;
  return record as unknown as SapiMessage;
}
