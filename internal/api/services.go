// SPDX-License-Identifier: Apache-2.0

package api

import (
	"reflect"

	"postern.dev/postern/internal/api/actions"
	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/ec2"
	"postern.dev/postern/internal/api/elbv2"
	"postern.dev/postern/internal/api/iam"
	"postern.dev/postern/internal/api/route53"
	"postern.dev/postern/internal/api/route53resolver"
	"postern.dev/postern/internal/api/sts"
)

// Described is one service with its actions, for what is said or checked of all
// of them: the generated documents and the conformance tests.
type Described struct {
	awsquery.Service
	// Title is what documents call it.
	Title string
	// Module is the service's module in the AWS SDK for Go, where its
	// published model is.
	Module string
	// Actions lists the names of the actions, sorted; Input and Output are the
	// types of their structs.
	Actions       []string
	Input, Output func(action string) reflect.Type
}

// Services describes every service that is served here.
func Services() []Described {
	return []Described{
		described("EC2", "ec2", &ec2.Actions),
		described("Elastic Load Balancing v2", "elasticloadbalancingv2", &elbv2.Actions),
		described("IAM", "iam", &iam.Actions),
		described("Route 53", "route53", &route53.Actions),
		described("Route 53 Resolver", "route53resolver", &route53resolver.Actions),
		described("STS", "sts", &sts.Actions),
	}
}

func described(title, module string, t *actions.Table) Described {
	return Described{t.Service, title, module, t.Names(), t.Input, t.Output}
}
