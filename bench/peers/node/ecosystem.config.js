// PM2's cluster mode: Node's cluster module, with PM2's daemon as the master.
//
// The harness sets PM2_HOME, so that this is a PM2 of its own and no user's,
// and PM2_DISABLE_VERSION_CHECK, so that it asks nobody in the network.
'use strict';

module.exports = {
  apps: [{
    name: 'app',
    script: process.env.APP,
    instances: Number(process.env.INSTANCES),
    exec_mode: 'cluster',
    // An app that ends at SIGINT by itself makes a reload graceful; PM2 gives
    // it 1.6 s by default. The other contenders give 1 s.
    kill_timeout: 1000,
    // A worker that dies is started again at once. 10 deaths in a row would be
    // enough for PM2 to give up: no limit for a comparison with crashes in it.
    max_restarts: 1e9,
    // What costs CPU and isn't balancing: looking at the app's repository,
    // watching its files, and source maps.
    vizion: false,
    watch: false,
    disable_source_map_support: true,
  }],
};
