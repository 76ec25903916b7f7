/** What the TLS transport counts, for `show tls stats`. */
export class TlsStats {
  handshakesAccepted = 0;
  handshakesConnected = 0;
  resumed = 0;
  handshakeFailures = 0;
  handshakeTimeouts = 0;
  /** The certificate of a peer did not pass. */
  verifyFailures = 0;
  /** New connections that were refused because too many were in their handshake. */
  handshakesRefused = 0;
  recordFailures = 0;
  /** Streams that ended without close_notify. */
  truncated = 0;
  /** Of the last failure, as OpenSSL says it. */
  lastFailure = '';
}
