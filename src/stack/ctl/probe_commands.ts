/** Commands of the TCP probe (see `tcp/probe.ts`): `sluice ctl tcp probe` puts them together (see `probe_client.ts`). */
import { PROBE_COLUMNS, TcpProbe } from '../tcp/probe.ts';
import { type Command, CommandError, onNetwork, parseWords, positive } from './command.ts';

const USAGE = 'tcp probe on [interval US] [port N] [samples N] [connections N]';
const MAX_SAMPLES = 1 << 20;

export const PROBE_COMMANDS: readonly Command[] = [
  {
    words: 'tcp probe on',
    usage: USAGE,
    run: onNetwork(({ tcp }, args) => {
      const words = parseWords(args, ['interval', 'port', 'samples', 'connections']);
      const value = (name: string, fallback: string): number | null => positive(words?.get(name) ?? fallback);
      const intervalUs = value('interval', '10000');
      const samples = value('samples', '4096');
      const maxConnections = value('connections', '64');
      const port = words?.has('port') ? value('port', '') : 0;
      if (words === null || intervalUs === null || samples === null || maxConnections === null || port === null)
        return new CommandError(`usage: ${USAGE}`);
      if (samples * maxConnections > MAX_SAMPLES) return new CommandError(`at most ${MAX_SAMPLES} samples for all connections`);
      tcp.probe = new TcpProbe({ intervalUs, samples, maxConnections, port });
      return {};
    }),
  },
  {
    words: 'tcp probe off',
    usage: 'tcp probe off',
    run: onNetwork(({ tcp }) => {
      tcp.probe = null;
      return {};
    }),
  },
  {
    words: 'show tcp probe',
    usage: 'show tcp probe [N]',
    run: onNetwork(({ tcp }, [text]) => {
      if (tcp.probe === null) return new CommandError('the probe is off: tcp probe on');
      if (text === undefined)
        return tcp.probe.series.map((each, i) => ({
          series: i,
          connection: each.name,
          samples: each.count,
        }));
      const series = tcp.probe.series[Number(text)];
      if (series === undefined) return new CommandError(`no series ${text}`);
      return series.rows().map((row) => Object.fromEntries(PROBE_COLUMNS.map((name, i) => [name, row[i]])));
    }),
  },
];
