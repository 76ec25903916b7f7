import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dateFormatter } from '../../../src/proxy/access_log/date_formatter.ts';

const TIME = Date.UTC(2024, 0, 7, 5, 6, 9, 42) + 0.125;

function utc(format: string, time = TIME): string {
  return dateFormatter(format, false).format(time);
}

test('strftime specifiers', () => {
  const expected: Record<string, string> = {
    '': '2024-01-07T05:06:09.042Z',
    '%Y-%m-%d %H:%M:%S': '2024-01-07 05:06:09',
    '%F %T': '2024-01-07 05:06:09',
    '%a %A %b %B %h': 'Sun Sunday Jan January Jan',
    '%e|%k|%l|%I|%p|%P': ' 7| 5| 5|05|AM|am',
    '%j %U %W %V %G %g %u %w': '007 01 01 01 2024 24 7 0',
    '%C %y %D %x %R %r %X': '20 24 01/07/24 01/07/24 05:06 05:06:09 AM 05:06:09',
    '%c': 'Sun Jan  7 05:06:09 2024',
    '%s': '1704603969',
    '%f': '042125000',
    '%1f %3f %6f %9f': '0 042 042125 042125000',
    '%E3S %E6S %E*S %E3f %E*f %E0S': '09.042 09.042125 09.042125 042 042125 09',
    '%z %Z %Ez %E*z %E4Y': '+0000 UTC +00:00 +00:00:00 2024',
    '100%% %Q %': '100% %Q %',
    '%t': '\t',
  };
  for (const [format, text] of Object.entries(expected)) assert.equal(utc(format), text, format);
});

test('weeks at the ends of years', () => {
  assert.equal(utc('%G-%V %U %W', Date.UTC(2021, 0, 3)), '2020-53 01 00');
  assert.equal(utc('%G-%V', Date.UTC(2024, 11, 30)), '2025-01');
  assert.equal(utc('%j', Date.UTC(2024, 11, 31)), '366');
});

test('the default format over many moments, forth and back', () => {
  const iso = dateFormatter('', false);
  for (const step of [0, 1, 999, 1000, 1001, 86_400_000, -1, -1000, 500]) {
    const time = Date.UTC(2024, 1, 29, 23, 59, 59, 500) + step;
    assert.equal(iso.format(time), new Date(time).toISOString());
  }
  assert.equal(dateFormatter('%Y', false).format(Number.NaN), '-');
});

test('local time', () => {
  const zone = process.env['TZ'];
  try {
    process.env['TZ'] = 'America/New_York';
    const time = Date.UTC(2024, 6, 1, 12, 0, 0, 5);
    assert.equal(dateFormatter('%Y-%m-%dT%H:%M:%S%z %Z', true).format(time), '2024-07-01T08:00:00-0400 EDT');
    assert.equal(dateFormatter('', true).format(time), '2024-07-01T08:00:00.005-04:00');
  } finally {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  }
});
