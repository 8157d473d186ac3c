// The floor: the least that a Node process can do for a client that speaks lines of JSON over a
// UNIX socket. Usage: node line-server.mjs SOCKET
import { createServer } from 'node:net';

const GREETING = {
  QMP: { version: { qemu: { micro: 0, minor: 2, major: 10 }, package: '' }, capabilities: ['oob'] },
};
const STATUS = { status: 'prelaunch', running: false };

const server = createServer((socket) => {
  let partial = '';
  socket.setEncoding('utf8');
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    const lines = (partial + chunk).split('\n');
    partial = lines.pop();
    let replies = '';
    for (const line of lines) {
      const request = JSON.parse(line);
      const value = request.execute === 'query-status' ? STATUS : {};
      replies += `${JSON.stringify({ return: value })}\r\n`;
    }
    if (replies !== '') socket.write(replies);
  });
  socket.write(`${JSON.stringify(GREETING)}\r\n`);
});
server.listen(process.argv[2]);
