/**
 * One client, whatever carries it: bytes and descriptors in, messages out.
 *
 * A transport delivers bytes and descriptors together (design §6.5); who receives descriptors owns
 * them and closes them.
 */
export interface Connection {
  readonly kind: 'unix' | 'tcp' | 'websocket' | 'stdio' | 'pty';
  /** Begins delivery; nothing is read before. */
  start(handlers: ConnectionHandlers): void;
  /**
   * Queues one message (ASCII, without its line end). Streams add CRLF, WebSocket sends one text
   * frame. Messages of one turn of the event loop leave in one write unless `flush` comes between.
   */
  send(message: string): void;
  /**
   * Hands on bytes as they are, after what is queued: no line end, no frame of their own on streams,
   * one binary frame on WebSocket. They must not change afterwards.
   */
  sendBytes(bytes: Buffer): void;
  /** Hands everything queued to the operating system now, in a write of its own. */
  flush(): void;
  /** Bytes sent but not yet taken by the operating system. */
  readonly buffered: number;
  /** Stops and resumes reading; `pause` holds from the next read on. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. Unread input is drained, so that the peer sees EOF, no reset. */
  end(): void;
  /** Closes at once; what is queued is dropped. */
  destroy(): void;
}

export interface ConnectionHandlers {
  /** `descriptors` came with these bytes; the receiver owns them. */
  onData(bytes: Buffer, descriptors: readonly number[]): void;
  /** `buffered` has fallen to zero after it was above zero. */
  onDrain(): void;
  /** The peer sends no more, but may still read (half-close). */
  onEnd(): void;
  /**
   * The connection is gone; called once, last.
   *
   * @param reason why it was cut from this side, where only the transport knows it
   */
  onClose(reason?: string): void;
}
