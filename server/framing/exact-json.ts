import type { JsonValue } from '../../schema/json.js';
import { JsonStream } from './stream.js';

/**
 * A whole text as one JSON value with exact integers.
 *
 * @throws Error when it is no JSON by the strict rules, in the words of `JSON.parse`
 */
export const exactJson = (text: string): JsonValue => {
  // The strict parser knows where a mistake is; the other one keeps integers beyond 2^53.
  JSON.parse(text);
  const stream = new JsonStream();
  stream.push(Buffer.from(`${text} null `));
  const item = stream.next();
  if (item?.kind !== 'value')
    throw new Error(item?.kind === 'error' ? item.desc : 'JSON parse error, premature EOI');
  return item.value;
};
