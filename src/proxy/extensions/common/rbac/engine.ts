/**
 * Role-based access control: policies, an action, and what they make of one request or connection (Envoy: filters/common/rbac
 * engine_impl.cc). Policies are looked at by name, in order; the first that matches decides.
 */
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import {
  all,
  any,
  compilePermission,
  compilePrincipal,
  type PermissionConfig,
  type PrincipalConfig,
  type RbacMatcher,
  type RbacSubject,
} from './matchers.ts';

export interface RbacRulesConfig {
  action?: 'ALLOW' | 'DENY' | 'LOG';
  policies?: Record<string, { permissions?: readonly PermissionConfig[]; principals?: readonly PrincipalConfig[] }>;
}

export interface RbacConfig {
  rules?: RbacRulesConfig;
  rulesStatPrefix?: string;
  shadowRules?: RbacRulesConfig;
  shadowRulesStatPrefix?: string;
  trackPerRuleStats?: boolean;
}

const COMMON_NAMESPACE = 'envoy.common';

class RbacEngine {
  private readonly action: 'ALLOW' | 'DENY' | 'LOG';
  private readonly policies: readonly { readonly name: string; readonly matches: RbacMatcher }[];
  /** Of the last decision; '' when no policy matched. */
  matchedPolicy = '';

  /** Throws ConfigError. */
  constructor(config: RbacRulesConfig, path: string) {
    this.action = config.action ?? 'ALLOW';
    this.policies = Object.entries(config.policies ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { permissions = [], principals = [] }]) => {
        const at = `${path}.policies[${name}]`;
        const permitted = any(permissions.map((permission, i) => compilePermission(permission, `${at}.permissions[${i}]`)));
        const known = any(principals.map((principal, i) => compilePrincipal(principal, `${at}.principals[${i}]`)));
        return { name, matches: all([permitted, known]) };
      });
  }

  allows(subject: RbacSubject): boolean {
    this.matchedPolicy = '';
    const { policies } = this;
    for (let i = 0; i < policies.length; i++) {
      if (!policies[i].matches(subject)) continue;
      this.matchedPolicy = policies[i].name;
      break;
    }
    const matched = this.matchedPolicy !== '';
    if (this.action === 'LOG') {
      addMetadata(subject.info, COMMON_NAMESPACE, { access_log_hint: matched });
      return true;
    }
    return matched === (this.action === 'ALLOW');
  }

  get isLog(): boolean {
    return this.action === 'LOG';
  }
}

/** The rules that one configuration has, enforced and shadow. */
export class RbacRules {
  private readonly enforced: RbacEngine | null;
  private readonly shadow: RbacEngine | null;
  private readonly prefix: string;
  private readonly shadowPrefix: string;

  /** Throws ConfigError. */
  constructor(config: RbacConfig) {
    this.enforced = config.rules === undefined ? null : new RbacEngine(config.rules, 'rules');
    this.shadow = config.shadowRules === undefined ? null : new RbacEngine(config.shadowRules, 'shadow_rules');
    this.prefix = config.rulesStatPrefix ?? '';
    this.shadowPrefix = config.shadowRulesStatPrefix ?? '';
  }

  /** Null: allowed; else why not, for the details of the response or connection. */
  check(subject: RbacSubject, stats: RbacStats, namespace: string): string | null {
    if (this.shadow !== null) this.checkShadow(this.shadow, subject, stats, namespace);
    return this.enforced === null ? null : this.enforce(this.enforced, subject, stats, namespace);
  }

  /** What shadow rules would say. */
  checkShadow(engine: RbacEngine, subject: RbacSubject, stats: RbacStats, namespace: string): void {
    const allowed = engine.allows(subject);
    stats.shadow(allowed, engine.matchedPolicy);
    addMetadata(subject.info, namespace, {
      ...(engine.matchedPolicy === '' ? {} : { [`${this.shadowPrefix}shadow_effective_policy_id`]: engine.matchedPolicy }),
      [`${this.shadowPrefix}shadow_engine_result`]: allowed ? 'allowed' : 'denied',
    });
  }

  private enforce(engine: RbacEngine, subject: RbacSubject, stats: RbacStats, namespace: string): string | null {
    const allowed = engine.allows(subject);
    if (engine.isLog) stats.log(engine.matchedPolicy !== '');
    stats.enforce(allowed, engine.matchedPolicy);
    addMetadata(subject.info, namespace, {
      ...(engine.matchedPolicy === '' ? {} : { [`${this.prefix}enforced_effective_policy_id`]: engine.matchedPolicy }),
      [`${this.prefix}enforced_engine_result`]: allowed ? 'allowed' : 'denied',
    });
    if (allowed) return null;
    return `rbac_access_denied_matched_policy[${engine.matchedPolicy === '' ? 'none' : engine.matchedPolicy.replaceAll(' ', '_')}]`;
  }
}

function addMetadata(info: StreamInfo, namespace: string, fields: Record<string, unknown>): void {
  info.dynamicMetadata ??= {};
  info.dynamicMetadata[namespace] = { ...info.dynamicMetadata[namespace], ...fields };
}

export class RbacStats {
  private readonly allowed: Counter;
  private readonly denied: Counter;
  private readonly shadowAllowed: Counter;
  private readonly shadowDenied: Counter;
  private readonly logged: Counter;
  private readonly notLogged: Counter;
  private readonly perRule: Scope | null;

  /** `scope`: of `...rbac.`. */
  constructor(scope: Scope, config: RbacConfig) {
    const prefix = config.rulesStatPrefix ?? '';
    const shadowPrefix = config.shadowRulesStatPrefix ?? '';
    this.allowed = scope.counter(`${prefix}allowed`);
    this.denied = scope.counter(`${prefix}denied`);
    this.logged = scope.counter(`${prefix}logged`);
    this.notLogged = scope.counter(`${prefix}not_logged`);
    this.shadowAllowed = scope.counter(`${shadowPrefix}shadow_allowed`);
    this.shadowDenied = scope.counter(`${shadowPrefix}shadow_denied`);
    this.perRule = config.trackPerRuleStats === true ? scope.scope('policy.') : null;
  }

  enforce(allowed: boolean, policy: string): void {
    (allowed ? this.allowed : this.denied).inc();
    if (policy !== '') this.perRule?.counter(`${policy}.${allowed ? 'allowed' : 'denied'}`).inc();
  }

  shadow(allowed: boolean, policy: string): void {
    (allowed ? this.shadowAllowed : this.shadowDenied).inc();
    if (policy !== '') this.perRule?.counter(`${policy}.${allowed ? 'shadow_allowed' : 'shadow_denied'}`).inc();
  }

  log(logged: boolean): void {
    (logged ? this.logged : this.notLogged).inc();
  }
}
