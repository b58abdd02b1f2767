// SPDX-License-Identifier: Apache-2.0

// Runs dynalite on a free loopback port and prints the port. (Its own command
// does not say which port it got.) Tables are there at once.

import dynalite from "dynalite";

const server = dynalite({ createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 });
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
