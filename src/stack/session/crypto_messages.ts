/** What application workers say of TLS over their sockets: configurations, which come in sealed memory, and server names of connects. */
import { readSync } from 'node:fs';
import { sealedSize } from '../../core/sys/memfd.ts';
import type { AppWorker } from './application.ts';
import { checkCryptoConfig, MAX_CRYPTO_CONFIG_BYTES, MAX_SERVER_NAME } from './crypto_config.ts';
import type { SapiMessage } from './sapi.ts';

/** Ignores what cannot be used: a session that means it is refused. */
export function takeCryptoMessage(worker: AppWorker, message: SapiMessage, fds: readonly number[]): void {
  if (message.type === 'cryptoConfig') {
    const text = fds.length === 1 ? readSealed(fds[0], message.bytes) : null;
    if (text === null) return;
    let value: unknown = null;
    try {
      value = JSON.parse(text);
    } catch {
      return;
    }
    const config = checkCryptoConfig(value);
    if (typeof config !== 'string') worker.crypto.add(message.id, config);
  } else if (message.type === 'dropCryptoConfig') worker.crypto.drop(message.id);
  else if (message.type === 'serverName' && message.name.length <= MAX_SERVER_NAME)
    worker.crypto.addName(message.id, message.name);
}

/** Only a memfd: reading anything else could wait for the application. */
function readSealed(fd: number, bytes: number): string | null {
  const size = sealedSize(fd);
  if (typeof size === 'string' || !Number.isInteger(bytes) || bytes <= 0 || bytes > size || bytes > MAX_CRYPTO_CONFIG_BYTES)
    return null;
  const buffer = Buffer.alloc(bytes);
  return readSync(fd, buffer, 0, bytes, 0) === bytes ? buffer.toString() : null;
}
