/**
 * The admin interface (Envoy: source/server/admin), on the main thread over node:http: it is no data path.
 *
 * Handlers are a table; what changes something needs POST. A handler returns its answer; errors of a query are answers with 400.
 */
import { chmodSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AccessLogFactoryContext } from '../../access_log/factory.ts';
import { compileStringMatcher, type StringMatcher } from '../../common/matchers.ts';
import type { Admin } from '../../config/types.gen.ts';
import { type Address, ipAddress, pipeAddress } from '../../network/address.ts';
import { AdminAccessLog } from './admin_access_log.ts';
import type { AdminContext } from './context.ts';
import { ADMIN_HANDLERS, type AdminHandler, type AdminResponse, helpText, text } from './handlers.ts';

/** What `admin` says, compiled. Throws ConfigError when something cannot work, or an access log cannot be opened. */
export function compileAdmin(
  config: Admin,
  accessLogs: AccessLogFactoryContext,
): { accessLog: AdminAccessLog; allowedPaths: readonly StringMatcher[] } {
  return {
    accessLog: new AdminAccessLog(config, accessLogs),
    allowedPaths: config.allowPaths.map((matcher, i) => compileStringMatcher(matcher, `admin.allow_paths[${i}]`)),
  };
}

export class AdminServer {
  private readonly server: Server;
  private readonly context: AdminContext;
  private readonly accessLog: AdminAccessLog;
  /** Empty: all. */
  private readonly allowedPaths: readonly StringMatcher[];
  address: Address | null = null;

  /** Throws ConfigError when an access log cannot be opened. */
  constructor(context: AdminContext, config: Admin, accessLogs: AccessLogFactoryContext) {
    this.context = context;
    const { accessLog, allowedPaths } = compileAdmin(config, accessLogs);
    this.accessLog = accessLog;
    this.allowedPaths = allowedPaths;
    this.server = createServer((request, response) => {
      this.handle(request, response).catch((error: unknown) => {
        context.log.error(`admin: ${request.url}: ${error instanceof Error ? error.stack : String(error)}`);
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
        response.end('internal error; see the log\n');
      });
    });
    this.server.keepAliveTimeout = 60_000;
  }

  /** Binds. Rejects with the system's error. */
  async listen(address: Address): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      const done = (): void => {
        this.server.removeListener('error', reject);
        resolve();
      };
      if (address.kind === 'ip')
        this.server.listen({ port: address.port, host: address.ip, ipv6Only: address.v6only === true }, done);
      else {
        const path = address.path.startsWith('@') ? `\0${address.path.slice(1)}` : address.path;
        if (!path.startsWith('\0')) removeStale(path);
        this.server.listen(path, () => {
          if (address.mode && !path.startsWith('\0')) chmodSync(path, address.mode);
          done();
        });
      }
    });
    const bound = this.server.address();
    this.address =
      typeof bound === 'string' || bound === null
        ? pipeAddress(String(bound))
        : ipAddress((bound as AddressInfo).address, (bound as AddressInfo).port);
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    const url = URL.parse(request.url ?? '/', 'http://admin');
    const answer = url === null ? text('malformed request target\n', 400) : await this.answer(request, url);
    const body = Buffer.from(answer.body);
    response.writeHead(answer.status, {
      'content-type': answer.contentType,
      'content-length': body.length,
      'cache-control': 'no-cache, max-age=0',
      'x-content-type-options': 'nosniff',
    });
    response.end(request.method === 'HEAD' ? undefined : body);
    this.accessLog.log(request, answer.status, body.length, performance.now() - started);
  }

  private async answer(request: IncomingMessage, url: URL): Promise<AdminResponse> {
    if (this.allowedPaths.length > 0 && !this.allowedPaths.some((matcher) => matcher.match(url.pathname)))
      return text(`request to path ${url.pathname} not allowed`, 403);
    const handler = findHandler(url.pathname);
    if (handler === undefined) return text(`invalid path. admin commands are:\n${helpText()}`, 404);
    const method = request.method ?? 'GET';
    if (handler.mutates && method !== 'POST') return text(`Method ${method} not allowed, POST required.`, 405);
    if (!handler.mutates && method !== 'GET' && method !== 'HEAD' && method !== 'POST')
      return text(`Method ${method} not allowed.`, 405);
    for (const name of url.searchParams.keys()) {
      if (!handler.params.includes(name) && !handler.params.includes('*')) {
        return text(`unknown parameter '${name}' of ${handler.path}; it takes: ${handler.params.join(', ') || 'none'}\n`, 400);
      }
    }
    return handler.run(this.context, url.searchParams);
  }
}

function findHandler(path: string): AdminHandler | undefined {
  return ADMIN_HANDLERS.find((handler) => handler.path === path);
}

function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // There was none.
  }
}
