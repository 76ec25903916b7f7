/** One way to find out whether a host is well: HTTP, TCP or gRPC. Keeps its connection from one check to the next when that is wanted. */
import type { HostDescription } from '../host_update.ts';
import type { FailureType } from './health_check_state.ts';

export interface Probe {
  /** Begins a check, of which the callbacks tell the result; none is under way. May fail before it returns. */
  begin(host: HostDescription): void;
  /** The check under way took too long: its result is not wanted any more. */
  abandon(): void;
  close(): void;
}

export interface ProbeCallbacks {
  onSuccess(degraded: boolean): void;
  /** `exclude`: the host said `x-envoy-immediate-health-check-fail`. */
  onFailure(type: FailureType, retriable: boolean, exclude?: boolean): void;
  /** `health_check.verify_cluster` of runtime, in percent, held and counted. */
  verifiesCluster(): boolean;
}
