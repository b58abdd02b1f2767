// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"slices"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/dynamodb"
	"postern.dev/postern/internal/edge/s3"
)

// protocol is how one kind of service is spoken to.
type protocol struct {
	// read says what a request does.
	read func(call.Request, *service) (*call.Call, *call.Error)
	// writeError answers with an error in the service's format.
	writeError func(w http.ResponseWriter, r *http.Request, e *call.Error, requestID, hostID string)
	// labels says that a name below one of the service's is a name of something:
	// S3's buckets. Other services have their own names only.
	labels bool
	// namespace is the service's prefix of actions.
	namespace string
}

// protocols by the name that a catalogue service's Protocol has.
var protocols = map[string]protocol{
	"s3": {
		read:       func(r call.Request, _ *service) (*call.Call, *call.Error) { return s3.Read(r) },
		writeError: s3.WriteError, labels: true, namespace: "s3",
	},
	"dynamodb": {
		read:       func(r call.Request, s *service) (*call.Call, *call.Error) { return dynamodb.Read(r, s.schemas) },
		writeError: dynamodb.WriteError, namespace: "dynamodb",
	},
}

// Protocols are the names of the protocols that are served.
func Protocols() []string {
	out := make([]string, 0, len(protocols))
	for name := range protocols {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
