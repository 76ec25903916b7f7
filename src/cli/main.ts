/** The `sluice` command: picks the subcommand, prints its mistakes, sets the exit status. */
import { nearest, UsageError } from './flags.ts';

interface Command {
  help: string;
  run(args: readonly string[]): Promise<number>;
}

const COMMANDS: Record<string, Command> = {
  proxy: {
    help: 'run an Envoy v3 configuration (sluice proxy -c envoy.yaml)',
    run: async (args) => (await import('./proxy.ts')).proxyCommand(args),
  },
  demo: {
    help: 'a proxy on 127.0.0.1:10000 with a bundled upstream, admin on 127.0.0.1:9901',
    run: async (args) => (await import('./demo.ts')).demoCommand(args),
  },
  filter: {
    help: 'begin and try filters in TypeScript (sluice filter new NAME, sluice filter test FILE)',
    run: async (args) => (await import('./filter.ts')).filterCommand(args),
  },
  wasm: {
    help: 'look at, try and begin Proxy-Wasm modules (sluice wasm inspect FILE, test FILE, new NAME)',
    run: async (args) => (await import('./wasm.ts')).wasmCommand(args),
  },
  stack: {
    help: 'run a host stack: shared-memory sockets between local programs',
    run: async (args) => (await import('./stack.ts')).stackCommand(args),
  },
  exec: {
    help: 'run a program with its sockets on the host stack (sluice exec -- node app.js)',
    run: async (args) => (await import('./exec.ts')).execCommand(args),
  },
  ctl: {
    help: 'ask a running host stack (sluice ctl show session)',
    run: async (args) => (await import('./stack.ts')).ctlCommand(args),
  },
};

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, command]) => `  ${name.padEnd(8)} ${command.help}`);
  return `usage: sluice <command> [flags]\n\n${rows.join('\n')}\n\n  sluice <command> --help tells its flags; sluice --version the version.\n`;
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(usage());
    return name === undefined ? 1 : 0;
  }
  if (name === '--version') {
    process.stdout.write(`${(await import('./version.ts')).VERSION_TEXT}\n`);
    return 0;
  }
  const command = COMMANDS[name];
  if (command === undefined) {
    const near = nearest(name, Object.keys(COMMANDS));
    throw new UsageError(
      `there is no command '${name}'${near === undefined ? '' : `; did you mean '${near}'?`} (see sluice --help)`,
    );
  }
  return command.run(rest);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`sluice: ${error.message}\n`);
  process.exitCode = 1;
}
