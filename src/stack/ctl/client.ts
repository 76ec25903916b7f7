/** Sends one command to a running stack and gives its answer: what `sluice ctl` does. */
import { join } from 'node:path';
import { closeDescriptor, connectSeqpacket, type Received, receivePacket, sendPacket } from '../../core/sys/unix_socket.ts';
import { UvPoll } from '../../core/sys/uv_poll.ts';
import { decodeSapi, encodeSapi } from '../session/sapi.ts';
import type { CommandResult } from './commands.ts';

const TIMEOUT_MS = 5000;

/** Rejects with SysError when no stack listens in `runtimeDir`. */
export async function sendCommand(runtimeDir: string, command: string, json = false): Promise<CommandResult> {
  const socket = connectSeqpacket(join(runtimeDir, 'cli.sock'));
  const error = sendPacket(socket, encodeSapi({ type: 'command', command, json }));
  if (error !== null) {
    closeDescriptor(socket);
    throw error;
  }
  let text = '';
  try {
    return await new Promise<CommandResult>((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        poll.close();
        settle();
      };
      const timer = setTimeout(() => finish(() => reject(new Error('the stack does not answer'))), TIMEOUT_MS);
      const handle = (received: Received): boolean => {
        if (received.kind === 'again') return false;
        const reply = received.kind === 'packet' ? decodeSapi(received.data) : null;
        if (reply?.type !== 'reply') {
          finish(() => reject(new Error('the stack closed the connection')));
          return false;
        }
        text += reply.text;
        if (!reply.more) finish(() => resolve({ ok: reply.ok, text }));
        return reply.more;
      };
      const poll = new UvPoll(socket, () => {
        while (handle(receivePacket(socket)));
      });
    });
  } finally {
    closeDescriptor(socket);
  }
}
