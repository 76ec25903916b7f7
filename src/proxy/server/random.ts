/** Random numbers of a thread. */
import { randomBytes } from 'node:crypto';

/** xorshift128 seeded by the system: uniform 32-bit numbers, not for secrets. */
export function randomSource(): () => number {
  const state = new Uint32Array(randomBytes(16).buffer.slice(0, 16));
  if (state.every((word) => word === 0)) state[0] = 1;
  return () => {
    let t = state[3];
    const s = state[0];
    state[3] = state[2];
    state[2] = state[1];
    state[1] = s;
    t ^= t << 11;
    t ^= t >>> 8;
    state[0] = t ^ s ^ (s >>> 19);
    return state[0];
  };
}
