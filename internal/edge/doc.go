// SPDX-License-Identifier: Apache-2.0

// Package edge is the policy proxy: it speaks HTTP and TLS to workloads,
// evaluates the policy of the endpoint a request came through and streams what is
// allowed to the service's backend.
//
// # Words
//
// An endpoint is a VPC endpoint to a service of the operator's catalogue, such
// as S3. A backend is the server that has the service's data. A call is a
// request as S3 understands it: one or more checks, each an action on a
// resource, all of which the policy must allow. A record is the access log's
// line for one request.
//
// # Promises
//
// Who a connection belongs to comes from an Identifier, that is from the
// datapath, once for each connection; nothing in a request chooses an endpoint,
// a VPC or a client address. The access key a signature names is a claim: the
// backend verifies it, and the edge, which has no secrets, only narrows. Backends
// must therefore refuse requests without a good signature, as S3 does.
//
// What is judged is what is sent: method, path, query, Host and signed headers
// reach the backend byte for byte, and whatever two servers could read
// differently (a parameter twice, two subresources, headers that override others)
// is refused before it is judged. A key such as "a//b" or "a/../b" is also judged
// as a backend would read it that tidies paths up. Requests the classifier does
// not know are denied. Backends must take the same host names as virtual-hosted
// buckets as the service's PublicNames say.
//
// State is per request: a changed policy counts for the next request of an open
// connection, and a removed endpoint closes its connections.
//
// Request bodies stream through; only DeleteObjects, at most 2 MiB, is read whole.
package edge
