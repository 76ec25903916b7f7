/** Writes src/proxy/config/types.gen.ts from the table of supported fields. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { configTypes } from '../src/proxy/config/type_writer.ts';

writeFileSync(fileURLToPath(new URL('../src/proxy/config/types.gen.ts', import.meta.url)), configTypes());
