/**
 * Builds the Envoy v3 API's descriptor set from the `.proto` files that `@grpc/grpc-js-xds` ships (the API of about Envoy 1.31).
 * The files are staged with the few corrections they need, compiled by `buf`, and the result is one FileDescriptorSet.
 * Newer fields are not here: `additions.ts` appends them when the set is loaded.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, sep } from 'node:path';

/** Compiles the API into `target` (replaced atomically, so that concurrent builders do not disturb each other). */
export function buildApi(target: string): void {
  const staging = mkdtempSync(join(tmpdir(), 'sluice-api-'));
  try {
    stage(staging);
    mkdirSync(dirname(target), { recursive: true });
    const partial = `${target}.${process.pid}.tmp`;
    const built = join(staging, 'api.binpb');
    compile(staging, built);
    writeFileSync(partial, readFileSync(built));
    renameSync(partial, target);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

const packages = createRequire(import.meta.url);

/** Old API versions, and service definitions that only Google's own services use. */
const SKIPPED_DIRECTORIES = /(^envoy\/.*\/(v2|v2alpha\d*|v1alpha\d*)$)|servicecontrol|servicemanagement/;

/** They import packages that are not shipped along. */
const SKIPPED_FILES = new Set([
  'envoy/config/trace/v3/opencensus.proto',
  'envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto',
  'envoy/service/metrics/v3/metrics_service.proto',
  'envoy/service/trace/v3/trace_service.proto',
]);

/** Text corrections by path: what to find, what to put there. */
const CORRECTIONS: Record<string, readonly [RegExp, string]> = {
  'envoy/config/trace/v3/trace.proto': [/^import public "envoy\/config\/trace\/v3\/opencensus\.proto";\n/m, ''],
  'validate/validate.proto': [/^message StringRules \{\n/m, 'message StringRules {\n    optional bool ignore_empty = 26;\n'],
};

/** Package folders inside the dependency: each is an import root. */
const ROOTS = ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'];

function stage(staging: string): void {
  const deps = join(dirname(packages.resolve('@grpc/grpc-js-xds/package.json')), 'deps');
  for (const root of ROOTS) {
    const base = join(deps, root);
    for (const file of readdirSync(base, { recursive: true, encoding: 'utf8' })) {
      const path = file.split(sep).join('/');
      if (!path.endsWith('.proto') || !/^(envoy|xds|udpa|google|validate)\//.test(path)) continue;
      if (SKIPPED_DIRECTORIES.test(dirname(path)) || SKIPPED_FILES.has(path)) continue;
      let text = readFileSync(join(base, file), 'utf8').replaceAll('\r\n', '\n');
      const correction = CORRECTIONS[path];
      if (correction !== undefined) {
        if (!correction[0].test(text)) throw new Error(`${path} is not as expected: the API's package has changed`);
        text = text.replace(correction[0], correction[1]);
      }
      const to = join(staging, path);
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, text);
    }
  }
}

function compile(staging: string, output: string): void {
  writeFileSync(join(staging, 'buf.yaml'), 'version: v2\n');
  const args = ['build', '.', '--as-file-descriptor-set', '--exclude-source-info', '-o', output];
  const result = spawnSync(bufBinary(), args, { cwd: staging, encoding: 'utf8' });
  if (result.error !== undefined) throw new Error(`cannot run buf: ${result.error.message}`);
  if (result.status !== 0) throw new Error(`buf build failed:\n${result.stderr}`);
}

/** The platform's own package holds the program, so it works without install scripts. */
function bufBinary(): string {
  const buf = packages.resolve('@bufbuild/buf/package.json');
  const name = bufPackage(process.platform, process.arch);
  try {
    const platform = dirname(createRequire(buf).resolve(`${name}/package.json`));
    const binary = join(platform, 'bin', 'buf');
    if (existsSync(binary)) return binary;
  } catch {
    // Told below.
  }
  throw new Error(`${name} is not installed: run npm install without --omit=optional`);
}

/** On Linux, buf's packages have the kernel's names for ARM. */
export function bufPackage(platform: string, arch: string): string {
  const linuxNames: Record<string, string> = { arm64: 'aarch64', arm: 'armv7' };
  return `@bufbuild/buf-${platform}-${platform === 'linux' ? (linuxNames[arch] ?? arch) : arch}`;
}
