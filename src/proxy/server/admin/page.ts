/** The admin home page: what is running, and every endpoint with a link or a button. No scripts from elsewhere. */
import type { AdminContext } from './context.ts';
import type { AdminHandler } from './handlers.ts';

export function adminPage(context: AdminContext, handlers: readonly AdminHandler[]): string {
  const listeners = context.listeners();
  const facts: [string, string][] = [
    ['state', context.state()],
    ['uptime', `${Math.round(context.uptimeMs() / 1000)} s`],
    ['listeners', listeners.map((l) => `${l.name} on ${l.addresses.join(', ')}`).join('; ')],
    ['workers', String(context.stats.gaugeValue('server.concurrency'))],
    ['connections', String(context.stats.gaugeValue('server.total_connections'))],
  ];
  const rows = handlers
    .filter((handler) => handler.path !== '/')
    .map((handler) => {
      const action = handler.mutates
        ? `<form method="post" action="${handler.path}"><button>${handler.path}</button></form>`
        : `<a href="${handler.path}">${handler.path}</a>`;
      const params = handler.params.filter((p) => p !== '*').join(', ');
      return `<tr><td>${action}</td><td>${escapeHtml(handler.help)}</td><td>${escapeHtml(params)}</td></tr>`;
    });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sluice admin</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); vertical-align: top; }
th { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { opacity: .7; }
dd { margin: 0; }
form { margin: 0; }
button { font: inherit; padding: .1rem .6rem; }
</style>
</head>
<body>
<h1>Sluice</h1>
<dl>${facts.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`).join('')}</dl>
<table>
<tr><th>Command</th><th>Description</th><th>Parameters</th></tr>
${rows.join('\n')}
</table>
</body>
</html>
`;
}

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
