import type { HostTimer } from '../devices/core/host-timer.js';

/** The timers of the host; they keep no process alive. */
export const hostTimer: HostTimer = {
  after: (ms, fire) => {
    const timer = setTimeout(fire, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
