// SPDX-License-Identifier: Apache-2.0

// Package edge is the policy proxy: it speaks HTTP and TLS to workloads,
// evaluates the policy of the endpoint a request came through and streams what is
// allowed to the service's backend.
//
// # Words
//
// An endpoint is a VPC endpoint to a service of the operator's catalogue, such
// as S3. A backend is the server that has the service's data. A protocol is how a
// kind of service is spoken to; each is a package of its own that makes a call of
// a request: one or more checks, each an action on a resource, all of which the
// policies must allow (package call). A record is the access log's line for one
// request.
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
// is refused before it is judged. Fields that come after a body are dropped.
// Backends must take the same host names as virtual-hosted buckets as the
// service's PublicNames say.
//
// A request that no protocol's table has is denied, unless the endpoint's policy
// (and the user's, if a user signed it) allows the whole service.
//
// Of what only a service's backend knows, such as an object's tags, a backend that
// can is asked, on a socket of its own to which no request goes, and only where a
// policy that has a say asks for it. Without an answer the request is refused: a
// Deny may be about it. What changes between the answer and the action does not
// count.
//
// State is per request: a changed policy counts for the next request of an open
// connection, and a removed endpoint closes its connections.
//
// Bodies stream through. What a call's meaning is in is held while it is judged
// and sent: bodies of DynamoDB's requests, small documents of S3's, the head of a
// form. How much is held is bounded, in all and for each VPC.
//
// Workloads speak HTTP/1.1, or HTTP/2 over TLS; backends are spoken to in
// HTTP/1.1. A backend behind a socket of this machine is told where a request
// comes from in the header X-Postern-Context.
package edge
