// Node's cluster as its manual has it: node cluster.js APP PORT WORKERS
const cluster = require('cluster');

const [, , app, port, workers] = process.argv;
cluster.setupPrimary({ exec: app, args: [port] });
for (let i = 0; i < Number(workers); i++) cluster.fork();
cluster.on('exit', () => setTimeout(() => cluster.fork(), 100));
