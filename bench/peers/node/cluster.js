// A master of Node's cluster module for an app, with what the module's
// documentation shows: a worker that dies is forked again, and one that is to
// go is disconnected, which closes its server, and killed if that takes too long.
//
//   NODE_CLUSTER_SCHED_POLICY=rr|none PORT=3000 node cluster.js app.js 4
//
// SIGHUP replaces the workers, one by one, each once its successor listens.
// SIGTTIN adds one. SIGTERM ends all.
'use strict';

const cluster = require('node:cluster');
const path = require('node:path');

const grace = 1000; // milliseconds

const [app, count] = process.argv.slice(2);
cluster.setupPrimary({ exec: path.resolve(app), args: [] });

const leaving = new Set();
let ending = false;

// It died while something was sent to it. Nobody needs to know but 'exit'.
cluster.on('fork', (worker) => worker.on('error', () => {}));

cluster.on('exit', (worker) => {
  if (!leaving.delete(worker) && !ending) cluster.fork();
  if (ending && Object.keys(cluster.workers).length === 0) process.exit(0);
});

// successor resolves once a new worker listens, or has failed to.
function successor() {
  return new Promise((resolve) => {
    const worker = cluster.fork();
    worker.once('listening', resolve);
    worker.once('exit', resolve);
  });
}

function dismiss(worker) {
  return new Promise((resolve) => {
    if (worker.isDead()) return resolve();
    leaving.add(worker);
    const patience = setTimeout(() => worker.process.kill('SIGKILL'), grace);
    worker.once('exit', () => {
      clearTimeout(patience);
      resolve();
    });
    if (worker.isConnected()) worker.disconnect();
  });
}

async function replaceAll() {
  for (const worker of Object.values(cluster.workers)) {
    await successor();
    await dismiss(worker);
  }
}

let reloads = Promise.resolve();
process.on('SIGHUP', () => { reloads = reloads.then(replaceAll); });
process.on('SIGTTIN', () => cluster.fork());
process.on('SIGTERM', () => {
  ending = true;
  Object.values(cluster.workers).forEach(dismiss);
});

for (let i = 0; i < Number(count); i++) cluster.fork();
