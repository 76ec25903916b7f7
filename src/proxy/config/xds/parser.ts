/** The server's end of `parse_process.ts`: started with the first question, started again when it died. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { threadEnvironment } from '../../../core/thread_environment.ts';
import { ConfigError } from '../error.ts';
import type { ParseAnswer, ParseRequest } from './parse_process.ts';
import type { ResourceKind } from './resource_types.ts';
import type { ParsedResponse } from './response.ts';

const PROGRAM = fileURLToPath(new URL('./parse_process.ts', import.meta.url));

interface Question {
  resolve(answer: ParseAnswer): void;
  reject(error: Error): void;
}

export class ResourceParser {
  private child: ChildProcessByStdio<Writable, Readable, null> | null = null;
  private readonly questions: Question[] = [];
  private received: Buffer[] = [];
  private receivedBytes = 0;
  private closed = false;

  /** Rejects with ConfigError when it cannot be read at all. */
  async parse(bytes: Uint8Array, delta: boolean): Promise<ParsedResponse> {
    return responseOf(await this.ask({ bytes, delta }));
  }

  async parseFile(file: string, kind: ResourceKind): Promise<ParsedResponse> {
    return responseOf(await this.ask({ file, kind }));
  }

  /** The bytes of a Node message. */
  async encodeNode(node: Record<string, unknown>): Promise<Uint8Array> {
    const answer = await this.ask({ node });
    if (!('bytes' in answer)) throw new ConfigError('error' in answer ? answer.error : 'no node');
    return answer.bytes;
  }

  close(): void {
    this.closed = true;
    this.child?.stdin.end();
  }

  private ask(request: ParseRequest): Promise<ParseAnswer> {
    if (this.closed) return Promise.reject(new Error('the parser is closed'));
    const child = this.child ?? this.start();
    const bytes = serialize(request);
    const head = Buffer.alloc(4);
    head.writeUInt32LE(bytes.length);
    return new Promise((resolve, reject) => {
      this.questions.push({ resolve, reject });
      child.stdin.write(head);
      child.stdin.write(bytes);
    });
  }

  private start(): ChildProcessByStdio<Writable, Readable, null> {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: threadEnvironment(),
    });
    this.child = child;
    // What is wrong shows in its end.
    child.stdin.on('error', () => {});
    child.stdout.on('data', (data: Buffer) => this.onData(data));
    child.once('error', (error) => this.onEnd(error.message));
    child.once('exit', (code, signal) => this.onEnd(String(signal ?? code)));
    return child;
  }

  private onEnd(how: string): void {
    this.child = null;
    this.received = [];
    this.receivedBytes = 0;
    const error = new Error(`the process that reads resources ended with ${how}`);
    for (const question of this.questions.splice(0)) question.reject(error);
  }

  private onData(data: Buffer): void {
    this.received.push(data);
    this.receivedBytes += data.length;
    while (this.receivedBytes >= 4) {
      const all = this.received.length === 1 ? this.received[0] : Buffer.concat(this.received);
      this.received = [all];
      const end = 4 + all.readUInt32LE();
      if (all.length < end) return;
      this.received = [all.subarray(end)];
      this.receivedBytes = all.length - end;
      this.questions.shift()?.resolve(deserialize(all.subarray(4, end)) as ParseAnswer);
    }
  }
}

function responseOf(answer: ParseAnswer): ParsedResponse {
  if ('response' in answer) return answer.response;
  throw new ConfigError('error' in answer ? answer.error : 'no response');
}
