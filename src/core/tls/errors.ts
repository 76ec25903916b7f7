/** OpenSSL's error queue of this thread, as text and codes. */
import { cString, ssl } from '../sys/openssl.ts';

export interface OpenSslError {
  /** ERR_LIB_*: 20 is SSL, 2 is the system. */
  readonly library: number;
  readonly reason: number;
  /** `167772466:SSL routines::certificate verify failed`. */
  readonly text: string;
}

export const ERR_LIB_SYS = 2;
export const ERR_LIB_SSL = 20;
export const SSL_R_CERTIFICATE_VERIFY_FAILED = 134;
export const SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE = 199;

const ERR_SYSTEM_FLAG = 0x8000_0000n;

/** Takes all errors off the queue, oldest first. */
export function takeErrors(): OpenSslError[] {
  const errors: OpenSslError[] = [];
  for (;;) {
    const code = ssl.ERR_get_error() as bigint;
    if (code === 0n) return errors;
    const isSystem = (code & ERR_SYSTEM_FLAG) !== 0n;
    errors.push({
      library: isSystem ? ERR_LIB_SYS : Number((code >> 23n) & 0xffn),
      reason: Number(code & 0x7f_ffffn),
      text: `${code}:${cString(ssl.ERR_lib_error_string(code))}::${cString(ssl.ERR_reason_error_string(code))}`,
    });
  }
}

/** Why an OpenSSL call failed, in words; empties the queue. */
export function errorText(): string {
  const errors = takeErrors();
  return errors.length === 0 ? 'unknown error' : errors.map((error) => error.text.split(':').slice(1).join(':')).join(', ');
}

/** What cannot be configured: bad certificates, keys, names. */
export class TlsConfigError extends Error {
  /** The part of the settings, such as `certificates[0]`; '' when unknown. */
  readonly part: string;

  constructor(message: string, part = '') {
    super(message);
    this.name = 'TlsConfigError';
    this.part = part;
  }
}
