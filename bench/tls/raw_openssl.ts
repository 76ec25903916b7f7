/**
 * What OpenSSL itself does on this machine, used as its manual says: two memory BIOs per connection, BIO_write, SSL_read, SSL_write,
 * BIO_read, client and server in one thread. The same OpenSSL that the engine uses, so that the ratio is the engine's own cost.
 */
import ffi from 'node:ffi';
import { NativeMemory } from '../../src/core/sys/memory.ts';

const P = 'pointer';
const I = 'int32';
const { functions: ssl } = ffi.dlopen(null, {
  TLS_method: { arguments: [], return: P },
  SSL_CTX_new: { arguments: [P], return: P },
  SSL_CTX_use_certificate_chain_file: { arguments: [P, P], return: I },
  SSL_CTX_use_PrivateKey_file: { arguments: [P, P, I], return: I },
  SSL_CTX_set_ciphersuites: { arguments: [P, P], return: I },
  SSL_CTX_ctrl: { arguments: [P, I, 'int64', P], return: 'int64' },
  SSL_new: { arguments: [P], return: P },
  SSL_free: { arguments: [P], return: 'void' },
  SSL_set_bio: { arguments: [P, P, P], return: 'void' },
  SSL_set_accept_state: { arguments: [P], return: 'void' },
  SSL_set_connect_state: { arguments: [P], return: 'void' },
  SSL_do_handshake: { arguments: [P], return: I },
  SSL_set_shutdown: { arguments: [P, I], return: 'void' },
  SSL_read: { arguments: [P, P, I], return: I },
  SSL_write: { arguments: [P, P, I], return: I },
  SSL_get1_session: { arguments: [P], return: P },
  SSL_set_session: { arguments: [P, P], return: I },
  SSL_SESSION_free: { arguments: [P], return: 'void' },
  BIO_new: { arguments: [P], return: P },
  BIO_s_mem: { arguments: [], return: P },
  BIO_read: { arguments: [P, P, I], return: I },
  BIO_write: { arguments: [P, P, I], return: I },
});

interface End {
  ssl: bigint;
  input: bigint;
  output: bigint;
}

const SIZE = 1 << 20;
const wire = NativeMemory.map(SIZE).pointer;
const plain = NativeMemory.map(SIZE).pointer;

function text(value: string): bigint {
  const memory = NativeMemory.map(4096);
  memory.u8.set(Buffer.from(value));
  return memory.pointer;
}

export class RawOpenSsl {
  private readonly server: bigint;
  private readonly client: bigint;
  private session = 0n;

  constructor(certificateFile: string, keyFile: string) {
    this.server = ssl.SSL_CTX_new(ssl.TLS_method());
    this.client = ssl.SSL_CTX_new(ssl.TLS_method());
    ssl.SSL_CTX_use_certificate_chain_file(this.server, text(certificateFile));
    ssl.SSL_CTX_use_PrivateKey_file(this.server, text(keyFile), 1);
    const SSL_CTRL_SET_GROUPS_LIST = 92;
    for (const context of [this.server, this.client]) {
      ssl.SSL_CTX_set_ciphersuites(context, text('TLS_AES_128_GCM_SHA256'));
      ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0n, text('X25519:P-256'));
    }
  }

  /** One handshake, both ends; with `resume` the last one's session. */
  handshake(resume: boolean): { client: End; server: End } {
    const client = this.end(this.client);
    const server = this.end(this.server);
    ssl.SSL_set_connect_state(client.ssl);
    ssl.SSL_set_accept_state(server.ssl);
    if (resume && this.session !== 0n) ssl.SSL_set_session(client.ssl, this.session);
    for (let i = 0; i < 4; i++) {
      const a = ssl.SSL_do_handshake(client.ssl);
      this.move(client, server);
      const b = ssl.SSL_do_handshake(server.ssl);
      this.move(server, client);
      if (a === 1 && b === 1) break;
    }
    // The tickets.
    ssl.SSL_read(client.ssl, plain, SIZE);
    if (this.session !== 0n) ssl.SSL_SESSION_free(this.session);
    this.session = ssl.SSL_get1_session(client.ssl);
    return { client, server };
  }

  free({ client, server }: { client: End; server: End }): void {
    for (const end of [client, server]) {
      // Else the session could not be resumed.
      ssl.SSL_set_shutdown(end.ssl, 3);
      ssl.SSL_free(end.ssl);
    }
  }

  /** Encrypts `length` bytes and decrypts them at the other end. */
  transfer({ client, server }: { client: End; server: End }, length: number): void {
    ssl.SSL_write(server.ssl, plain, length);
    this.move(server, client);
    if (ssl.SSL_read(client.ssl, plain, length) !== length) throw new Error('short read');
  }

  private end(context: bigint): End {
    const end = { ssl: ssl.SSL_new(context), input: ssl.BIO_new(ssl.BIO_s_mem()), output: ssl.BIO_new(ssl.BIO_s_mem()) };
    ssl.SSL_set_bio(end.ssl, end.input, end.output);
    return end;
  }

  private move(from: End, to: End): void {
    const length = ssl.BIO_read(from.output, wire, SIZE);
    if (length > 0) ssl.BIO_write(to.input, wire, length);
  }
}
