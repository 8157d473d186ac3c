import { refused } from '../../schema/error.js';

/** @throws QmpError when `text`, the parameter `name`, is no base64 */
export const decodeBase64 = (name: string, text: string): Buffer => {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, ''))
    throw refused(`Parameter '${name}' expects base64`);
  return bytes;
};
