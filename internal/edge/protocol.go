// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"slices"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/dynamodb"
	"postern.dev/postern/internal/edge/s3"
	"postern.dev/postern/internal/edge/services"
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
	// owned says that the ARN of a resource names the account that owns it. What
	// EC2's requests name by an id may be shared, or a peer's.
	owned bool
}

// protocols by the name that a catalogue service's Protocol has.
var protocols = map[string]protocol{
	"s3": {
		read:       func(r call.Request, _ *service) (*call.Call, *call.Error) { return s3.Read(r) },
		writeError: s3.WriteError, labels: true, namespace: "s3",
	},
	"dynamodb": {
		read:       func(r call.Request, s *service) (*call.Call, *call.Error) { return dynamodb.Read(r, s.schemas) },
		writeError: dynamodb.WriteError, namespace: "dynamodb", owned: true,
	},
	"sns": speaks(services.SNS), "sqs": speaks(services.SQS), "sts": speaks(services.STS), "ec2": speaks(services.EC2),
	"elasticloadbalancing": speaks(services.ELB), "logs": speaks(services.Logs), "ecr.api": speaks(services.ECR),
	"ecr.dkr": { // ECR's registry, whose names have the account in front
		read:       func(r call.Request, _ *service) (*call.Call, *call.Error) { return services.ReadRegistry(r) },
		writeError: services.WriteRegistryError, labels: true, namespace: services.ECR.Namespace, owned: true,
	},
}

// speaks is the protocol of a service that has a table.
func speaks(s *services.Service) protocol {
	return protocol{
		read:       func(r call.Request, _ *service) (*call.Call, *call.Error) { return s.Read(r) },
		writeError: s.WriteError, namespace: s.Namespace, owned: s != services.EC2,
	}
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
