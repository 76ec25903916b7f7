/**
 * Application namespaces: who may talk to whom. A namespace has its own local lookup tables and rules, is pinned to one routing table
 * (`fib`), and may ask for a secret when an application attaches.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { LookupTables } from './lookup.ts';
import { RulesTable } from './rules_table.ts';

export interface NamespaceConfig {
  id: string;
  /** '' : none. */
  secret?: string;
  /** Number of the routing table that the namespace uses. */
  fib?: number;
}

export class AppNamespace {
  readonly id: string;
  readonly fib: number;
  readonly local = new LookupTables();
  readonly rules = new RulesTable();
  applications = 0;
  private readonly secretHash: Buffer | null;

  constructor(config: NamespaceConfig) {
    this.id = config.id;
    this.fib = config.fib ?? 0;
    this.secretHash = config.secret ? digest(config.secret) : null;
  }

  get hasSecret(): boolean {
    return this.secretHash !== null;
  }

  admits(secret: string): boolean {
    return this.secretHash === null || timingSafeEqual(this.secretHash, digest(secret));
  }
}

/** A namespace id becomes a file name. */
export function validNamespaceId(id: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}$/.test(id);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
