// SPDX-License-Identifier: Apache-2.0

package api

import (
	"reflect"

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
		{awsquery.ServiceEC2, "EC2", "ec2", ec2.Actions(), ec2.Input, ec2.Output},
		{awsquery.ServiceELBv2, "Elastic Load Balancing v2", "elasticloadbalancingv2", elbv2.Actions(), elbv2.Input, elbv2.Output},
		{awsquery.ServiceIAM, "IAM", "iam", iam.Actions(), iam.Input, iam.Output},
		{awsquery.ServiceRoute53, "Route 53", "route53", route53.Actions(), route53.Input, route53.Output},
		{awsquery.ServiceRoute53Resolver, "Route 53 Resolver", "route53resolver", route53resolver.Actions(), route53resolver.Input, route53resolver.Output},
		{awsquery.ServiceSTS, "STS", "sts", sts.Actions(), sts.Input, sts.Output},
	}
}
