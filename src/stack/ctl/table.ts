/** Plain values as text for people: aligned columns for lists, `name: value` lines for records. */

type Row = Record<string, unknown>;

export function formatTable(value: Row[] | Row): string {
  if (!Array.isArray(value))
    return Object.entries(value)
      .map(([name, field]) => `${label(name)}: ${field}\n`)
      .join('');
  if (value.length === 0) return '';
  const columns = [...new Set(value.flatMap((row) => Object.keys(row)))];
  const cells = [columns.map(label), ...value.map((row) => columns.map((column) => String(row[column] ?? '')))];
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  return cells
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** `usedKb` -> `used kb` */
function label(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
