/**
 * Gives a module's own memory a maximum: the JavaScript API cannot limit the growth of a memory that a module defines, so the limit is
 * written into its memory section. `memory.grow` beyond it then fails inside the module, as when the machine had no more.
 */
import { ModuleError, type ModuleInfo, PAGE_BYTES, Reader } from './module_reader.ts';

/** The module with its memory limited; the same bytes when it already is. Throws ModuleError when it starts above the limit. */
export function limitMemory(bytes: Uint8Array, info: ModuleInfo, maximumPages: number): Uint8Array {
  const own = info.memories.find(({ imported }) => !imported);
  if (own === undefined) return bytes;
  if (own.minimum > maximumPages) {
    throw new ModuleError(
      `the module starts with ${own.minimum} pages of memory (${(own.minimum * PAGE_BYTES) >> 20} MiB), the limit is ${maximumPages}`,
    );
  }
  if (own.maximum !== undefined && own.maximum <= maximumPages) return bytes;
  const section = info.sections.find(({ id }) => id === 5);
  if (section === undefined) return bytes;
  const contents = [1, 1, ...leb(own.minimum), ...leb(maximumPages)];
  // The section's id and length stand before its contents.
  const header = sectionHeaderStart(bytes, info, section.start);
  const rewritten = [5, ...leb(contents.length), ...contents];
  const result = new Uint8Array(header + rewritten.length + (bytes.length - section.end));
  result.set(bytes.subarray(0, header));
  result.set(rewritten, header);
  result.set(bytes.subarray(section.end), header + rewritten.length);
  return result;
}

function sectionHeaderStart(bytes: Uint8Array, info: ModuleInfo, contentsStart: number): number {
  let before = 8;
  for (const section of info.sections) {
    if (section.id === 5 && section.start === contentsStart) {
      const reader = new Reader(bytes, before, bytes.length);
      if (reader.byte() === 5) return before;
    }
    before = section.end;
  }
  throw new ModuleError('the memory section was not found');
}

function leb(value: number): number[] {
  const out: number[] = [];
  do {
    const byte = value % 128;
    value = Math.floor(value / 128);
    out.push(value === 0 ? byte : byte | 0x80);
  } while (value !== 0);
  return out;
}
