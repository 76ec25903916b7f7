/** A worker thread of an application that answers datagrams with its name, for `workers.test.ts`. */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { vcl } from '../../../src/stack/index.ts';
import type { WorkerTicket } from '../../../src/stack/vcl/attach.ts';

const { runtimeDir, name, port, ticket } = workerData as {
  runtimeDir: string;
  name: string;
  port: number;
  ticket: WorkerTicket | null;
};
if (ticket === null) vcl.appCreate('server', { runtimeDir, scopeLocal: false });
else vcl.workerRegister(ticket);
const sh = vcl.sessionCreate(vcl.TransportProto.udp, true);
vcl.sessionBind(sh, { ip: '10.9.1.1', port });
const from = { ip: '', port: 0 };
const buffer = new Uint8Array(2000);
let open = true;

/** Until there is nothing more. */
function answer(): void {
  if (!open || vcl.workerIsDetached()) return;
  for (let n = vcl.sessionRecvfrom(sh, buffer, from); n >= 0; n = vcl.sessionRecvfrom(sh, buffer, from))
    vcl.sessionSendto(sh, Buffer.from(name), from);
  setImmediate(answer);
}

answer();
parentPort!.postMessage(vcl.workerTicket());
for (;;) {
  const [what] = (await once(parentPort!, 'message')) as ['close' | 'leave'];
  open = false;
  if (what === 'close') vcl.sessionClose(sh);
  else vcl.workerUnregister();
  parentPort!.postMessage('done');
  if (what === 'leave') break;
}
