// A gRPC client of Node's own HTTP/2, which is nghttp2: PORT REQUESTS AT_ONCE.
// It goes to a new session when it is asked to leave one, and prints a line of JSON.
'use strict';
const http2 = require('http2');
const [port, requests, atOnce] = process.argv.slice(2).map(Number);
const result = { answered: 0, failed: [], sessions: 0, asked: 0, closed: 0, refused: 0 };
let session = null;
let sent = 0;

function open() {
  const mine = http2.connect(`http://127.0.0.1:${port}`);
  result.sessions++;
  mine.on('goaway', (code) => {
    if (code !== 0) result.failed.push(`GOAWAY ${code}`);
    if (session === mine) session = null;
    result.asked++;
  });
  mine.on('error', (err) => result.failed.push(`session: ${err}`));
  mine.on('close', () => {
    if (session === mine) session = null;
    result.closed++;
  });
  return mine;
}

// begin begins a call. Node refuses it on a session that was asked for already, before
// it tells that by the event.
function begin() {
  const headers = {
    ':method': 'POST', ':path': '/grpc.testing.TestService/EmptyCall',
    'content-type': 'application/grpc', te: 'trailers',
  };
  session = session || open();
  try {
    return session.request(headers);
  } catch (err) {
    if (err.code !== 'ERR_HTTP2_GOAWAY_SESSION') throw err;
    session = open();
    return session.request(headers);
  }
}

function ask() {
  if (sent === requests) return;
  sent++;
  call();
}

// call asks again what has never left this process: nghttp2 refuses what it hadn't sent
// yet when it was asked to leave. Whatever the server saw must be answered.
function call() {
  const stream = begin();
  let status = null;
  let error = null;
  stream.on('trailers', (t) => { status = t['grpc-status']; });
  stream.on('error', (err) => { error = err; });
  stream.on('data', () => {});
  stream.on('close', () => {
    const refused = error && (error.code === 'ERR_HTTP2_GOAWAY_SESSION' || error.message.includes('REFUSED_STREAM'));
    if (refused) {
      result.refused++;
      call();
      return;
    }
    if (status === '0' && !error) result.answered++;
    else result.failed.push(`status ${status}, ${error}`);
    if (result.answered + result.failed.length >= requests) finish();
    else ask();
  });
  stream.end(Buffer.alloc(5));
}

function finish() {
  if (session) session.close();
  setTimeout(() => { result.failed = result.failed.slice(0, 5); console.log(JSON.stringify(result)); process.exit(0); }, 100);
}

for (let i = 0; i < atOnce; i++) ask();
