// SPDX-License-Identifier: Apache-2.0

// Runs fauxqs on a free loopback port, prints the port, and ends with its
// standard input. (Its own command would listen on every address.)

import { buildApp } from "fauxqs";

const app = buildApp({ logger: false, host: "127.0.0.1", defaultRegion: "us-east-1" });
await app.listen({ host: "127.0.0.1", port: 0 });
console.log(app.server.address().port);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
