/** What `vcl` of `sluice/stack` is. */
export * from './inspect.ts';
export * from './native.ts';
