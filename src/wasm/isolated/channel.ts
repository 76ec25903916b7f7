/** The VM thread's side of the channel to the dispatcher's thread: messages out, and questions that wait for their answer. */
import { workerData } from 'node:worker_threads';
import type { Status } from '../abi/enums.ts';
import { type ChannelInit, CONTROL_BYTES, type FromVm, type Question, Word } from './protocol.ts';

export const init = workerData as ChannelInit;
export const words = new Int32Array(init.control);
const answer = new Uint8Array(init.control, CONTROL_BYTES);

export function say(message: FromVm): void {
  init.port.postMessage(message);
  Atomics.add(words, Word.Signal, 1);
  Atomics.notify(words, Word.Signal);
}

export interface Answer {
  readonly status: Status;
  readonly bytes: Uint8Array;
  readonly extra: number;
}

/** Waits for the dispatcher's thread to answer. */
export function ask(question: Question): Answer {
  Atomics.store(words, Word.Answered, 0);
  say({ type: 'question', question });
  Atomics.wait(words, Word.Answered, 0);
  return {
    status: words[Word.AnswerStatus] as Status,
    bytes: answer.slice(0, words[Word.AnswerLength]),
    extra: words[Word.AnswerExtra],
  };
}
