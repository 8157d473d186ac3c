// The floor of the qtest measures: a Node process that cuts lines and answers each with the same
// one. Usage: node qtest-floor.mjs SOCKET
import { createServer } from 'node:net';

const REPLY = 'OK 0x0000000000000000\n';

const server = createServer((socket) => {
  let partial = '';
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    const lines = (partial + chunk).split('\n');
    partial = lines.pop();
    let replies = '';
    for (const line of lines) replies += line === '' ? '' : REPLY;
    if (replies !== '') socket.write(replies, 'latin1');
  });
});
server.listen(process.argv[2]);
