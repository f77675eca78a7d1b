// A plain server on Node's own http module. What it does for the ledger is
// between the lines "ledger"; what it can be told to do wrong is in knobs.
const fs = require('fs');
const http = require('http');

const knobs = { ...process.env };
if (knobs.LEDGER_KNOBS && fs.existsSync(knobs.LEDGER_KNOBS)) {
  for (const line of fs.readFileSync(knobs.LEDGER_KNOBS, 'utf8').split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) knobs[line.slice(0, at)] = line.slice(at + 1);
  }
}

// ledger: one file a process, one write a line, nothing held back in memory.
const folder = process.env.SOCKDIST_LEDGER;
const file = folder && fs.openSync(`${folder}/${process.pid}.${process.hrtime.bigint()}`, 'a');
function record(letter, socket, more) {
  if (file) fs.writeSync(file, `${letter} ${process.hrtime.bigint()} ${socket.peer}${more}\n`);
}
// ledger

function hang(kind, ms) {
  for (const eaten = []; kind === 'eat';) eaten.push(Buffer.alloc(1 << 20, 1));
  if (kind === 'deadlock') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  const end = Date.now() + ms;
  while (Date.now() < end && !fs.existsSync(knobs.LEDGER_HANG_END || ''));
}

const slot = process.env.SOCKDIST_SLOT || '-';
const server = http.createServer((request, response) => {
  const [id, query] = request.url.slice(1).split('?');
  record('N', request.socket, ` ${id}`);
  const asked = new URLSearchParams(query);
  if (asked.has('busy')) hang('busy', Number(asked.get('busy')));
  if (asked.has('deadlock')) hang('deadlock');
  const answer = () => response.end(`${process.pid} ${slot} ${id}\n`);
  const service = Number(knobs.LEDGER_SERVICE_MS || 0);
  if (service) setTimeout(answer, service); else answer();
});
let gone = 0;
// ledger: before anything else is done with the connection.
server.prependListener('connection', (socket) => {
  // One that was reset in the queue has no peer any more: it gets a number.
  socket.peer = socket.remoteAddress ? `${socket.remoteAddress} ${socket.remotePort}` : `? ${gone = gone % 65535 + 1}`;
  record('A', socket, '');
});
// ledger
server.keepAliveTimeout = 0; // Node closes idle connections after 5 seconds otherwise.

if (knobs.LEDGER_IGNORE_TERM) process.on('SIGTERM', () => {});
else if (knobs.LEDGER_GRACEFUL) process.on('SIGTERM', () => server.close(() => process.exit(0)));
process.on('SIGUSR2', () => hang(knobs.LEDGER_HANG || 'busy', Number(knobs.LEDGER_HANG_MS || 2000)));
if (knobs.LEDGER_FAIL) {
  console.error('ledger server: told to fail');
  process.exit(1);
}
setTimeout(() => server.listen(Number(process.argv[2])), 1000 * Number(knobs.LEDGER_SLOW_START || 0));
