/**
 * A control plane on @grpc/grpc-js: state of the world and incremental, aggregated and by type, which holds its clients to the protocol: every
 * request is checked for node, nonce and version, and a mistake is kept for the test to find.
 */
import { fromBinary, fromJson, type JsonValue, type Message, toBinary, toJson } from '@bufbuild/protobuf';
import grpc from '@grpc/grpc-js';
import { api } from '../../../src/proxy/config/api/registry.ts';
import { ADS_DELTA, ADS_SOTW, RESOURCE_TYPES, type ResourceKind, typeUrl } from '../../../src/proxy/config/xds/resource_types.ts';
import { closeAtEnd, type Json } from '../../support/proxy_process.ts';

const DISCOVERY = 'envoy.service.discovery.v3.';

export interface Request {
  kind: ResourceKind;
  /** Proto JSON with proto field names. */
  json: Json;
}

interface Client {
  readonly call: grpc.ServerDuplexStream<Buffer, Buffer>;
  readonly delta: boolean;
  sawNode: boolean;
  /** By type: the last response's nonce and version, and what was asked for. */
  readonly sent: Map<ResourceKind, { nonce: string; version: string; accepted: string }>;
  readonly names: Map<ResourceKind, Set<string>>;
  /** Delta: nonces. */
  readonly unanswered: Set<string>;
}

export class ControlPlane {
  port = 0;
  readonly requests: Request[] = [];
  /** Broken rules. */
  readonly mistakes: string[] = [];
  readonly nacks: { kind: ResourceKind; message: string }[] = [];
  readonly metadata: grpc.Metadata[] = [];
  connections = 0;
  /** Types of which nothing is sent. */
  readonly silent = new Set<ResourceKind>();
  private readonly resources = new Map<ResourceKind, Map<string, { version: string; any: Json | null; raw?: Uint8Array }>>();
  private readonly versions = new Map<ResourceKind, number>();
  private readonly clients = new Set<Client>();
  private server: grpc.Server | null = null;
  private nonces = 0;

  static async start(port = 0): Promise<ControlPlane> {
    const plane = new ControlPlane();
    await plane.listen(port);
    closeAtEnd(() => plane.stop());
    return plane;
  }

  async listen(port: number): Promise<void> {
    const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 });
    const add = (path: string, delta: boolean): void => {
      const bytes = (value: Buffer): Buffer => value;
      const method = { path, requestStream: true, responseStream: true } as const;
      const serializers = {
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      };
      server.addService(
        { stream: { ...method, ...serializers } },
        { stream: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => this.onStream(call, delta) },
      );
    };
    add(ADS_SOTW, false);
    add(ADS_DELTA, true);
    for (const { sotw, delta } of Object.values(RESOURCE_TYPES)) {
      add(sotw, false);
      add(delta, true);
    }
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    this.server = server;
  }

  stop(): void {
    this.server?.forceShutdown();
    this.server = null;
    this.clients.clear();
  }

  /** Sets what there is of a type, and sends it. A null stands for bytes that are no such message. */
  set(kind: ResourceKind, resources: Record<string, Json | null>): void {
    const before = this.resources.get(kind) ?? new Map();
    const version = String((this.versions.get(kind) ?? 0) + 1);
    this.versions.set(kind, Number(version));
    const now = new Map(
      Object.entries(resources).map(([name, any]) => {
        const known = before.get(name);
        const same = known !== undefined && JSON.stringify(known.any) === JSON.stringify(any);
        return [name, same ? known : { version, any }];
      }),
    );
    this.resources.set(kind, now);
    for (const client of this.clients) {
      if (!client.names.has(kind)) continue;
      const changed = [...now].filter(([name, { version: own }]) => own === version && before.get(name)?.version !== own);
      const removed = [...before.keys()].filter((name) => !now.has(name));
      if (client.delta)
        this.sendDelta(
          client,
          kind,
          changed.map(([name]) => name),
          removed,
        );
      else this.sendSotw(client, kind);
    }
  }

  private onStream(call: grpc.ServerDuplexStream<Buffer, Buffer>, delta: boolean): void {
    this.connections++;
    this.metadata.push(call.metadata);
    const client: Client = { call, delta, sawNode: false, sent: new Map(), names: new Map(), unanswered: new Set() };
    this.clients.add(client);
    call.on('data', (bytes: Buffer) => {
      const type = api().message(`${DISCOVERY}${delta ? 'Delta' : ''}DiscoveryRequest`);
      const json = toJson(type, fromBinary(type, bytes), { registry: api().registry, useProtoFieldName: true }) as Json;
      const kind = (Object.keys(RESOURCE_TYPES) as ResourceKind[]).find((each) => typeUrl(each) === json['type_url']);
      if (kind === undefined) {
        this.mistakes.push(`type_url ${String(json['type_url'])}`);
        return;
      }
      this.requests.push({ kind, json });
      if (json['node'] !== undefined) client.sawNode = true;
      else if (!client.sawNode) this.mistakes.push('the first request has no node');
      if (delta) this.onDeltaRequest(client, kind, json);
      else this.onSotwRequest(client, kind, json);
    });
    call.on('error', () => this.clients.delete(client));
    call.on('end', () => {
      this.clients.delete(client);
      call.end();
    });
  }

  private onSotwRequest(client: Client, kind: ResourceKind, json: Json): void {
    const sent = client.sent.get(kind);
    const nonce = (json['response_nonce'] as string | undefined) ?? '';
    const version = (json['version_info'] as string | undefined) ?? '';
    const error = json['error_detail'] as Json | undefined;
    if (sent === undefined && nonce !== '') this.mistakes.push(`${kind}: a nonce before any response`);
    if (sent !== undefined && nonce !== sent.nonce) return; // stale: ignored
    if (sent !== undefined && error !== undefined) {
      this.nacks.push({ kind, message: String(error['message']) });
      if (version !== sent.accepted) this.mistakes.push(`${kind}: refused with version '${version}', not '${sent.accepted}'`);
    } else if (sent !== undefined) {
      if (version !== sent.version && version !== sent.accepted)
        this.mistakes.push(`${kind}: version '${version}' after '${sent.version}'`);
      if (version === sent.version) sent.accepted = version;
    }
    const names = new Set((json['resource_names'] as string[] | undefined) ?? []);
    const before = client.names.get(kind);
    client.names.set(kind, names);
    const more = before === undefined || [...names].some((name) => !before.has(name));
    if (more) this.sendSotw(client, kind);
  }

  private sendSotw(client: Client, kind: ResourceKind): void {
    if (this.silent.has(kind)) return;
    const names = client.names.get(kind)!;
    const all = this.resources.get(kind);
    if (all === undefined) return;
    const wanted = [...all].filter(([name]) => names.size === 0 || names.has(name));
    if (wanted.length === 0 && names.size > 0) return;
    const version = String(this.versions.get(kind) ?? 0);
    const nonce = `n${++this.nonces}`;
    const accepted = client.sent.get(kind)?.accepted ?? this.acceptedOf(kind, client) ?? '';
    client.sent.set(kind, { nonce, version, accepted });
    const type = api().message(`${DISCOVERY}DiscoveryResponse`);
    const message = fromJson(
      type,
      { version_info: version, nonce, type_url: typeUrl(kind), control_plane: { identifier: 'test plane' } },
      { registry: api().registry },
    ) as Message & { resources: { typeUrl: string; value: Uint8Array }[] };
    message.resources.push(...wanted.map(([, { any }]) => anyOf(kind, any) as never));
    client.call.write(Buffer.from(toBinary(type, message)));
  }

  /** What the client said when it came, of a stream before. */
  private acceptedOf(kind: ResourceKind, _client: Client): string | undefined {
    const first = this.requests.findLast((request) => request.kind === kind);
    return first?.json['version_info'] as string | undefined;
  }

  private onDeltaRequest(client: Client, kind: ResourceKind, json: Json): void {
    const nonce = (json['response_nonce'] as string | undefined) ?? '';
    const sent = client.sent.get(kind);
    // Each response is answered, in whatever order requests and responses cross.
    if (nonce !== '' && !client.unanswered.delete(nonce)) this.mistakes.push(`${kind}: nonce ${nonce} after ${sent?.nonce}`);
    const error = json['error_detail'] as Json | undefined;
    if (error !== undefined) {
      this.nacks.push({ kind, message: String(error['message']) });
      if (nonce === '') this.mistakes.push(`${kind}: refused without a nonce`);
    }
    const first = !client.names.has(kind);
    const names = client.names.get(kind) ?? new Set<string>();
    client.names.set(kind, names);
    const subscribe = (json['resource_names_subscribe'] as string[] | undefined) ?? [];
    for (const name of subscribe) names.add(name);
    for (const name of (json['resource_names_unsubscribe'] as string[] | undefined) ?? []) names.delete(name);
    const known = (json['initial_resource_versions'] as Record<string, string> | undefined) ?? {};
    const all = this.resources.get(kind) ?? new Map<string, { version: string }>();
    if (first && subscribe.length === 0) {
      const changed = [...all].filter(([name, { version }]) => known[name] !== version).map(([name]) => name);
      this.sendDelta(
        client,
        kind,
        changed,
        Object.keys(known).filter((name) => !all.has(name)),
      );
    } else if (subscribe.length > 0) {
      const there = subscribe.filter((name) => all.has(name) && known[name] !== all.get(name)!.version);
      this.sendDelta(
        client,
        kind,
        there,
        subscribe.filter((name) => !all.has(name)),
      );
    }
  }

  private sendDelta(client: Client, kind: ResourceKind, changed: string[], removed: string[]): void {
    if (this.silent.has(kind)) return;
    const names = client.names.get(kind)!;
    const wanted = (name: string): boolean => names.size === 0 || names.has(name);
    const nonce = `n${++this.nonces}`;
    client.unanswered.add(nonce);
    client.sent.set(kind, { nonce, version: '', accepted: '' });
    const type = api().message(`${DISCOVERY}DeltaDiscoveryResponse`);
    const message = fromJson(
      type,
      {
        nonce,
        type_url: typeUrl(kind),
        system_version_info: String(this.versions.get(kind) ?? 0),
        removed_resources: removed.filter(wanted),
        resources: changed.filter(wanted).map((name) => ({ name, version: this.resources.get(kind)!.get(name)!.version })),
      },
      { registry: api().registry },
    ) as Message & { resources: { name: string; resource?: unknown }[] };
    for (const resource of message.resources) {
      resource.resource = anyOf(kind, this.resources.get(kind)!.get(resource.name)!.any);
    }
    client.call.write(Buffer.from(toBinary(type, message)));
  }
}

function anyOf(kind: ResourceKind, json: Json | null): Message {
  const any = fromJson(api().message('google.protobuf.Any'), {}, { registry: api().registry }) as Message & {
    typeUrl: string;
    value: Uint8Array;
  };
  any.typeUrl = typeUrl(kind);
  if (json === null) {
    any.value = new Uint8Array([0x0a, 0xff, 0x01]);
    return any;
  }
  const type = api().message(RESOURCE_TYPES[kind].message);
  any.value = toBinary(type, fromJson(type, JSON.parse(JSON.stringify(json)) as JsonValue, { registry: api().registry }));
  return any;
}
