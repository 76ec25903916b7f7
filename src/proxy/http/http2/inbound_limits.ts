/**
 * How many frames a peer may send that ask for nothing (Envoy: the inbound half of ProtocolConstraints): PRIORITY and WINDOW_UPDATE by
 * what we sent and how many streams there were, empty frames by number. Each answers with the details of its flood, or null.
 */
import { Details, type Http2Settings, type Http2Stats } from './settings.ts';

export class InboundLimits {
  openedStreams = 0;
  private readonly settings: Http2Settings;
  private readonly stats: Http2Stats;
  private emptyFrames = 0;
  private priorityFrames = 0;
  private windowUpdateFrames = 0;

  constructor(settings: Http2Settings, stats: Http2Stats) {
    this.settings = settings;
    this.stats = stats;
  }

  /** DATA, HEADERS or CONTINUATION; `empty`: without content, and it does not end the stream. */
  onPayload(empty: boolean): string | null {
    if (!empty) {
      this.emptyFrames = 0;
      return null;
    }
    if (++this.emptyFrames <= this.settings.maxConsecutiveInboundFramesWithEmptyPayload) return null;
    this.stats.inboundEmptyFramesFlood.inc();
    return Details.EmptyFramesFlood;
  }

  onPriority(): string | null {
    if (++this.priorityFrames <= this.settings.maxInboundPriorityFramesPerStream * (1 + this.openedStreams)) return null;
    this.stats.inboundPriorityFramesFlood.inc();
    return Details.PriorityFlood;
  }

  onWindowUpdate(dataFramesSent: number): string | null {
    const perDataFrame = this.settings.maxInboundWindowUpdateFramesPerDataFrameSent;
    if (++this.windowUpdateFrames <= 5 + 2 * (this.openedStreams + perDataFrame * dataFramesSent)) return null;
    this.stats.inboundWindowUpdateFramesFlood.inc();
    return Details.WindowUpdateFlood;
  }
}
