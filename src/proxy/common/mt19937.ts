/** The Mersenne Twister (Matsumoto, Nishimura 1998; std::mt19937): 32-bit numbers that are the same everywhere for the same seed. */
const SIZE = 624;
const SHIFT = 397;

export class Mt19937 {
  private readonly state = new Uint32Array(SIZE);
  private at = SIZE;

  /** `seed`: 32 bits. The same object may be seeded again. */
  seed(seed: number): void {
    const { state } = this;
    state[0] = seed;
    for (let i = 1; i < SIZE; i++) {
      const before = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = Math.imul(before, 1812433253) + i;
    }
    this.at = SIZE;
  }

  next(): number {
    if (this.at === SIZE) this.twist();
    let y = this.state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Uniform in [0, k), as Envoy draws it. */
  below(k: number): number {
    const bucket = Math.floor(0x100000000 / k);
    for (;;) {
      const x = Math.floor(this.next() / bucket);
      if (x < k) return x;
    }
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < SIZE; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + SHIFT) % SIZE] ^ (y >>> 1) ^ ((y & 1) === 0 ? 0 : 0x9908b0df);
    }
    this.at = 0;
  }
}
