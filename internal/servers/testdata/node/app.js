const http = require('http');

const server = http.createServer((request, response) => {
  response.end(`${process.pid}\n`);
});
// Node closes idle connections after 5 seconds otherwise.
server.keepAliveTimeout = 0;
server.listen(Number(process.argv[2]));
