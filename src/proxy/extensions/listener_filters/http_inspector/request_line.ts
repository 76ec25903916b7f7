/**
 * Is this HTTP, and which? Looks at the first line only: the HTTP/2 client preface (RFC 9113 3.4) or an HTTP/1 request line
 * (RFC 9112 3). Fed byte by byte, decides as early as it can.
 */

export const Detected = { NeedMore: 0, Http10: 1, Http11: 2, Http2: 3, NotHttp: 4 } as const;
export type Detected = (typeof Detected)[keyof typeof Detected];

const PREFACE = latin1('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const VERSION = latin1('HTTP/');
const SP = 0x20;
const CR = 0x0d;
const LF = 0x0a;

type State = 'method' | 'target' | 'version' | 'major' | 'dot' | 'minor' | 'end' | 'lf';

export class RequestLineDetector {
  /** Bytes of the preface that matched so far; -1: it is not HTTP/2. */
  private preface = 0;
  private state: State = 'method';
  private at = 0;
  private major = 0;
  private minor = 0;

  /** Takes the next byte of the connection. After an answer other than NeedMore it must not be called again. */
  push(byte: number): Detected {
    const line = this.pushLine(byte);
    if (this.preface >= 0) {
      if (byte !== PREFACE[this.preface]) this.preface = -1;
      else return ++this.preface === PREFACE.length ? Detected.Http2 : Detected.NeedMore;
    }
    return line;
  }

  private pushLine(byte: number): Detected {
    switch (this.state) {
      case 'method':
        if (byte === SP && this.at > 0) return this.enter('target');
        this.at++;
        return isToken(byte) ? Detected.NeedMore : Detected.NotHttp;
      case 'target':
        if (byte === SP && this.at > 0) return this.enter('version');
        this.at++;
        return byte > SP && byte !== 0x7f ? Detected.NeedMore : Detected.NotHttp;
      case 'version':
        if (byte !== VERSION[this.at]) return Detected.NotHttp;
        return ++this.at === VERSION.length ? this.enter('major') : Detected.NeedMore;
      case 'major':
        this.major = byte - 0x30;
        return isDigit(byte) ? this.enter('dot') : Detected.NotHttp;
      case 'dot':
        return byte === 0x2e ? this.enter('minor') : Detected.NotHttp;
      case 'minor':
        this.minor = byte - 0x30;
        return isDigit(byte) ? this.enter('end') : Detected.NotHttp;
      case 'end':
        if (byte === CR) return this.enter('lf');
        return byte === LF ? this.version() : Detected.NotHttp;
      case 'lf':
        return byte === LF ? this.version() : Detected.NotHttp;
    }
  }

  private enter(state: State): Detected {
    this.state = state;
    this.at = 0;
    return Detected.NeedMore;
  }

  /** Everything that is not 1.1 is treated as 1.0. */
  private version(): Detected {
    return this.major === 1 && this.minor === 1 ? Detected.Http11 : Detected.Http10;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** RFC 9110 5.6.2 tchar. */
function isToken(byte: number): boolean {
  return TOKEN[byte] === 1;
}

const TOKEN = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") TOKEN[char.charCodeAt(0)] = 1;

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
