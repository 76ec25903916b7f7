/** What the peer's SETTINGS say (RFC 9113 6.5.2, RFC 8441 3). */
import { DEFAULT_WINDOW, ErrorCode, FRAME_SIZE, MAX_STREAM_ID, MAX_WINDOW, Setting } from './frame.ts';
import type { HpackEncoder } from './hpack_encoder.ts';

export interface SettingError {
  readonly code: ErrorCode;
  readonly text: string;
}

const PUSH: SettingError = { code: ErrorCode.ProtocolError, text: 'ENABLE_PUSH is no boolean' };
const WINDOW: SettingError = { code: ErrorCode.FlowControlError, text: 'INITIAL_WINDOW_SIZE is too large' };
const FRAME: SettingError = { code: ErrorCode.ProtocolError, text: 'MAX_FRAME_SIZE is out of range' };
const CONNECT: SettingError = { code: ErrorCode.ProtocolError, text: 'ENABLE_CONNECT_PROTOCOL is no boolean' };

export class PeerSettings {
  /** They arrived. */
  seen = false;
  maxStreams = MAX_STREAM_ID;
  allowsConnect = false;
  /** Of new streams; a change moves the windows of those that are open. */
  initialWindow = DEFAULT_WINDOW;
  private readonly hpack: HpackEncoder;

  constructor(hpack: HpackEncoder) {
    this.hpack = hpack;
  }

  apply(id: number, value: number): SettingError | null {
    switch (id) {
      case Setting.HeaderTableSize:
        this.hpack.setPeerTableSize(value);
        return null;
      case Setting.EnablePush:
        return value > 1 ? PUSH : null;
      case Setting.MaxConcurrentStreams:
        this.maxStreams = value;
        return null;
      case Setting.InitialWindowSize:
        if (value > MAX_WINDOW) return WINDOW;
        this.initialWindow = value;
        return null;
      case Setting.MaxFrameSize:
        // Ours stay at 16 KB: larger ones would only make other streams wait longer.
        return value < FRAME_SIZE || value > 0xffffff ? FRAME : null;
      case Setting.EnableConnectProtocol:
        if (value > 1) return CONNECT;
        this.allowsConnect = value === 1;
        return null;
      default:
        return null;
    }
  }
}
