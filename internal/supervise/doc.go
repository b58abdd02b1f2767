// SPDX-License-Identifier: Apache-2.0

// Package supervise runs child processes: it starts them in order, starts
// them again when they end, and ends them in reverse order.
//
// Words. A child is one command under a name, over all its starts. The
// lifeline is a pipe whose write end only the parent has: when a child reads
// its end, the parent is gone, however it went. A child is ready when it has
// said so (or when its Ready callback has found so), and healthy when it has
// been ready for HealthyAfter.
//
// Promises.
//
//   - Only processes started here are ever signalled, and only through the
//     handle that came from starting them.
//   - A child that ends is started again after 100 ms, doubling up to 5 s;
//     having been healthy starts the series anew.
//   - When Stop has returned no child is running: SIGTERM, and SIGKILL after
//     its grace. When the parent is killed, children that use Lifeline end.
package supervise
