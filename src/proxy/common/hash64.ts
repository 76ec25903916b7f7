/**
 * 64-bit hashes as two 32-bit halves, and their arithmetic without bigints: hashing is on the path of requests, and a ring of
 * hosts takes many thousands of them.
 */

export class Hash64 {
  /** 32-bit halves, signed: as small integers they cost no allocation. */
  hi = 0;
  lo = 0;

  set(hi: number, lo: number): this {
    this.hi = hi | 0;
    this.lo = lo | 0;
    return this;
  }

  xor(hi: number, lo: number): this {
    return this.set(this.hi ^ hi, this.lo ^ lo);
  }

  /** Rotates left by one. */
  rotate(): this {
    return this.set((this.hi << 1) | (this.lo >>> 31), (this.lo << 1) | (this.hi >>> 31));
  }

  /** Times `hi`:`lo`, modulo 2^64. */
  multiply(hi: number, lo: number): this {
    const a0 = this.lo & 0xffff;
    const a1 = this.lo >>> 16;
    const b0 = lo & 0xffff;
    const b1 = lo >>> 16;
    const low = a0 * b0;
    const middle = a0 * b1 + a1 * b0 + (low >>> 16);
    const carry = a1 * b1 + Math.floor(middle / 0x10000);
    this.hi = ((carry | 0) + Math.imul(this.hi, lo) + Math.imul(this.lo, hi)) | 0;
    this.lo = (middle << 16) | (low & 0xffff);
    return this;
  }

  /** Plus `hi`:`lo`, modulo 2^64. */
  add(hi: number, lo: number): this {
    const low = (this.lo >>> 0) + (lo >>> 0);
    this.hi = (this.hi + hi + (low > 0xffffffff ? 1 : 0)) | 0;
    this.lo = low | 0;
    return this;
  }

  /** The remainder by `divisor`, an integer from 1 to 2^32. */
  modulo(divisor: number): number {
    if (divisor >= 0x4000000) return Number(this.toBigInt() % BigInt(divisor));
    return (((this.hi >>> 0) % divisor) * (0x100000000 % divisor) + (this.lo >>> 0)) % divisor;
  }

  toBigInt(): bigint {
    return (BigInt(this.hi >>> 0) << 32n) | BigInt(this.lo >>> 0);
  }

  /** 16 hexadecimal digits. */
  toHex(): string {
    return (this.hi >>> 0).toString(16).padStart(8, '0') + (this.lo >>> 0).toString(16).padStart(8, '0');
  }
}
