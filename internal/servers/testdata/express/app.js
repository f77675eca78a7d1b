const express = require('express');

const app = express();
app.get('/', (request, response) => {
  response.type('text').send(`${process.pid}\n`);
});
const server = app.listen(Number(process.argv[2]), (error) => {
  if (error) throw error;
});
// Node closes idle connections after 5 seconds otherwise.
server.keepAliveTimeout = 0;
