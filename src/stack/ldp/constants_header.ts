/** The C side's view of the protocol: every number that `native/ldp` needs, as a header made from the tables of the TypeScript side. */

import { ADDRESSED_HEADER, AddressedOffset, DATAGRAM_HEADER } from '../session/datagram_header.ts';
import { SESSION_ERRORS } from '../session/errors.ts';
import { IoEvent, MessageFlag, MessageWord, Notice, PROTO_SHIFT, RETVAL_SHIFT, Request } from '../session/messages.ts';
import { TransportProto } from '../session/transport.ts';
import { TRANSPORT_ATTRIBUTES } from '../session/transport_attributes.ts';
import * as layout from '../svm/layout.ts';
import { CC_NAMES } from '../tcp/cc/congestion_control.ts';

export function constantsHeader(): string {
  const lines = ['/* Generated from the TypeScript tables. */', '#ifndef SLUICE_CONSTANTS_H', '#define SLUICE_CONSTANTS_H'];
  const define = (name: string, value: number): void => {
    lines.push(`#define ${name} ${value}`);
  };
  const table = (prefix: string, values: Record<string, number>): void => {
    for (const [name, value] of Object.entries(values)) define(`${prefix}_${constantCase(name)}`, value);
  };
  define('SEGMENT_MAGIC', layout.SEGMENT_MAGIC);
  define('LAYOUT_VERSION', layout.LAYOUT_VERSION);
  define('RING_HEADER_BYTES', layout.RING_HEADER_BYTES);
  define('CONTROL_ELEMENT_WORDS', layout.CONTROL_ELEMENT_WORDS);
  define('IO_ELEMENT_WORDS', layout.IO_ELEMENT_WORDS);
  define('SLOT_BYTES', layout.SLOT_BYTES);
  define('CHUNK_ENTRY_WORDS', layout.CHUNK_ENTRY_WORDS);
  define('MAX_CHUNK_ORDER', layout.MAX_CHUNK_ORDER);
  table('SEGMENT_KIND', layout.SegmentKind);
  table('HEADER', layout.HeaderWord);
  table('RING', layout.RingWord);
  table('QUEUE', layout.QueueWord);
  table('FIFO', layout.FifoWord);
  table('ARENA', layout.ArenaWord);
  define('OWNER_BUSY', layout.OWNER_BUSY);
  table('CHUNK', layout.ChunkWord);
  table('DEQUEUE_NOTIFY', layout.DequeueNotify);
  table('REQUEST', Request);
  table('NOTICE', Notice);
  table('MESSAGE', MessageWord);
  table('MESSAGE_FLAG', MessageFlag);
  define('MESSAGE_RETVAL_SHIFT', RETVAL_SHIFT);
  define('MESSAGE_PROTO_SHIFT', PROTO_SHIFT);
  define('PROTO_TCP', TransportProto.tcp);
  define('PROTO_UDP', TransportProto.udp);
  define('DATAGRAM_HEADER', DATAGRAM_HEADER);
  define('ADDRESSED_HEADER', ADDRESSED_HEADER);
  table('ADDRESSED', AddressedOffset);
  table('ATTRIBUTE', TRANSPORT_ATTRIBUTES);
  define('MAX_ATTRIBUTE', Math.max(...Object.values(TRANSPORT_ATTRIBUTES)));
  for (const [at, name] of CC_NAMES.entries()) define(`CONGESTION_${constantCase(name)}`, at);
  table('IO_EVENT', IoEvent);
  const errnos: number[] = [];
  for (const { code, errno } of Object.values(SESSION_ERRORS)) errnos[code] = errno;
  lines.push(`#define SESSION_ERRNO_TABLE { ${errnos.join(', ')} }`, '#endif', '');
  return lines.join('\n');
}

/** `layoutVersion` -> `LAYOUT_VERSION`. */
function constantCase(name: string): string {
  return name
    .replace(/[A-Z]/g, (letter) => `_${letter}`)
    .replace(/^_/, '')
    .toUpperCase();
}
