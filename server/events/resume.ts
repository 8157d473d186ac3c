import type { EventHub } from './hub.js';
import { Subscription } from './subscription.js';

/** What a client asks for that has seen events before, or wants to. */
export interface ResumeRequest {
  /** Undefined: all. */
  readonly names: readonly string[] | undefined;
  /** Number of the last event that the client has. Undefined: it wants what comes from now on. */
  readonly since: bigint | undefined;
  /** The stream that `since` counts in, as the client knows it. */
  readonly stream: string | undefined;
}

/** What was asked for and is kept no longer; events of any name count. */
export interface Gap {
  /** `ring`: too old; `stream`: of an earlier start of the machine, all of it. */
  readonly reason: 'ring' | 'stream';
  readonly from: bigint;
  /** Absent when nobody knows how far the earlier stream went. */
  readonly to?: bigint;
}

/** What is told before the first event. */
export interface Resumed {
  readonly stream: string;
  /** Number of the latest event. */
  readonly sequence: bigint;
  /** Events after `since` in this stream that are kept no longer. */
  readonly lost: bigint;
  /** Absent when nothing is missing. */
  readonly gaps?: Gap[];
}

const LAST = (1n << 64n) - 1n;
const after = (sequence: bigint): bigint => (sequence < LAST ? sequence + 1n : LAST);

/** A subscription that begins where the client stopped; of another stream, with the oldest event. */
export const resume = (
  hub: EventHub,
  { names, since, stream }: ResumeRequest,
): { subscription: Subscription; resumed: Resumed } => {
  const { sequence } = hub;
  // A number from the future belongs to an earlier stream, too.
  const isOther =
    since !== undefined &&
    ((stream !== undefined && stream !== hub.stream) || since > BigInt(sequence));
  const from = isOther ? 0 : Number(since ?? sequence);
  const subscription = new Subscription(hub, names, from);
  const lost = subscription.lostBefore;
  const gaps: Gap[] = isOther ? [{ reason: 'stream', from: after(since) }] : [];
  if (lost > 0)
    gaps.push({ reason: 'ring', from: BigInt(from) + 1n, to: BigInt(from) + BigInt(lost) });
  const resumed = { stream: hub.stream, sequence: BigInt(sequence), lost: BigInt(lost) };
  return { subscription, resumed: gaps.length > 0 ? { ...resumed, gaps } : resumed };
};
