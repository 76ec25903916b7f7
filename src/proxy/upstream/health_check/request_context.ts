/** What format strings in the headers of a check's request may look at: the request, and nothing else. */
import type { FormatterContext } from '../../access_log/access_log.ts';
import type { HeaderMap } from '../../http/header_map.ts';

export function requestContext(requestHeaders: HeaderMap): FormatterContext {
  return { requestHeaders, responseHeaders: null, responseTrailers: null, localReplyBody: '', accessLogType: 'NotSet' };
}
