/** Whether `text` is an id: a letter, then letters, digits, `-`, `.`, `_`. */
export const isIdentifier = (text: string): boolean => /^[A-Za-z][A-Za-z0-9._-]*$/.test(text);
