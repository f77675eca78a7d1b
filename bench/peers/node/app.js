// The app of every Node contender: alone, in a cluster, under PM2, behind a
// proxy, under sockdist run. It is told of none of them.
//
//   PORT=3000 node app.js      listens on all addresses
//   LISTEN_FD=3 node app.js    listens on a socket that it inherits
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

const answer = `${process.pid}\n`;
const never = new Int32Array(new SharedArrayBuffer(4));

let slowness = 1;

// Nothing else happens in this process meanwhile. It sleeps instead of
// computing, so that there can be more workers than CPUs.
function work(microseconds) {
  Atomics.wait(never, 0, 0, (microseconds * slowness) / 1000);
}

const server = http.createServer((request, response) => {
  const [path, query] = request.url.split('?', 2);
  if (path === '/work') work(Number(new URLSearchParams(query).get('us')));
  else if (path !== '/') response.statusCode = 404;
  response.setHeader('Content-Length', answer.length);
  if (!server.listening) response.setHeader('Connection', 'close');
  response.end(answer);
});

server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => socket.destroy());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n' +
    `Upgrade: ${request.headers.upgrade}\r\n\r\n${answer}`);
  socket.write(head);
  socket.pipe(socket);
});

// Idle connections stay: they end after 5 s, and slow requests after 5 minutes, otherwise.
server.keepAliveTimeout = 0;
server.headersTimeout = 0;
server.requestTimeout = 0;

// What is under way is answered; idle connections are closed.
function close() {
  if (server.listening) server.close(leave);
}

// A worker of a cluster that just exits takes connections along that its master
// has sent and that it hasn't seen yet. Disconnecting gives them back.
function leave() {
  if (!cluster.isWorker) process.exit(0);
  if (!cluster.worker.exitedAfterDisconnect) cluster.worker.disconnect();
}

process.on('SIGTERM', close); // sockdist, init systems
process.on('SIGINT', close); // PM2

// Whoever catches SIGUSR2 serves: so the harness can tell, with no help of masters.
server.on('listening', () => process.on('SIGUSR2', () => { slowness *= 2; }));

// As many as net.core.somaxconn allows; 511 otherwise.
const backlog = 4096;
if (process.env.LISTEN_FD) server.listen({ fd: Number(process.env.LISTEN_FD) }, backlog);
else server.listen({ port: Number(process.env.PORT), backlog });
