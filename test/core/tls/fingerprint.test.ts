/** JA3 and JA4 by the examples of their authors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HelloOffer, ja3, ja4 } from '../../../src/core/tls/fingerprint.ts';

const NOTHING: HelloOffer = {
  version: 0x0303,
  cipherSuites: [],
  extensions: [],
  groups: [],
  pointFormats: [],
  signatureAlgorithms: [],
  supportedVersions: [],
  firstProtocol: '',
};

const numbers = (text: string): number[] => text.split(',').map((part) => Number.parseInt(part, 16));

test('JA3', () => {
  const offer = {
    ...NOTHING,
    version: 769,
    cipherSuites: [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4],
    extensions: [0, 10, 11],
    groups: [23, 24, 25],
    pointFormats: [0],
  };
  assert.equal(ja3(offer), 'ada70206e40642a3e4461f35503241d5');
  const greased = { ...offer, cipherSuites: [0x1a1a, ...offer.cipherSuites], groups: [0xfafa, ...offer.groups] };
  assert.equal(ja3(greased), ja3(offer));
  const bare = { ...NOTHING, version: 769, cipherSuites: [4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99] };
  assert.equal(ja3(bare), 'de350869b8c85de67a350c8d186f11e6');
});

test('JA4', () => {
  const offer = {
    ...NOTHING,
    cipherSuites: numbers('2a2a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035'),
    extensions: numbers('5a5a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015,6a6a'),
    signatureAlgorithms: numbers('0403,0804,0401,0503,0805,0501,0806,0601'),
    supportedVersions: [0xcaca, 0x0304, 0x0303],
    firstProtocol: 'h2',
  };
  assert.equal(ja4(offer), 't13d1516h2_8daaf6152771_e5627efa2ab1');
  assert.match(ja4({ ...offer, supportedVersions: [], firstProtocol: '' }), /^t12d151600_/);
  assert.match(ja4({ ...offer, firstProtocol: '\xab-\xcd' }), /^t13d1516ad_/);
  assert.match(ja4({ ...offer, firstProtocol: 'x' }), /^t13d1516xx_/);
  assert.equal(ja4(NOTHING), 't12i000000_000000000000_000000000000');
  assert.match(ja4({ ...NOTHING, cipherSuites: Array.from({ length: 120 }, (_, i) => i) }), /^t12i990000_/);
});
