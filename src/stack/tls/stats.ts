/** What the TLS transport counts, for `show tls stats`. */
export class TlsStats {
  handshakesAccepted = 0;
  handshakesConnected = 0;
  resumed = 0;
  handshakeFailures = 0;
  handshakeTimeouts = 0;
  /** The certificate of a peer did not pass. */
  verifyFailures = 0;
  /** How often a new connection had to wait because too many were in their handshake. */
  handshakesHeld = 0;
  /** Handshakes that were done before the backlog of the application had room. */
  acceptsDelayed = 0;
  recordFailures = 0;
  /** Streams that ended without close_notify. */
  truncated = 0;
  /** Of the last failure, as OpenSSL says it. */
  lastFailure = '';
}
