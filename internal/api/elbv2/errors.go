// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"errors"
	"net/http"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// byKindAndResource holds the codes that depend on both.
var byKindAndResource = map[vpc.ErrorKind]map[string]string{
	vpc.NotFound: {
		string(vpc.KindBalancer): "LoadBalancerNotFound", string(vpc.KindTargetGroup): "TargetGroupNotFound",
		string(vpc.KindListener): "ListenerNotFound", string(vpc.KindSubnet): "SubnetNotFound",
		string(vpc.KindGroup): "InvalidSecurityGroup", string(vpc.KindInstance): "InvalidTarget",
	},
	vpc.Duplicate: {
		string(vpc.KindBalancer): "DuplicateLoadBalancerName", string(vpc.KindTargetGroup): "DuplicateTargetGroupName",
		string(vpc.KindListener): "DuplicateListener", "tag": "DuplicateTagKeys",
	},
	vpc.Limit: {
		string(vpc.KindBalancer): "TooManyLoadBalancers", string(vpc.KindTargetGroup): "TooManyTargetGroups",
		string(vpc.KindListener): "TooManyListeners", "target": "TooManyTargets", "tag": "TooManyTags",
		"actions": "TooManyActions", "target-group-association": "TargetGroupAssociationLimit",
	},
	vpc.Invalid:     {"target": "InvalidTarget", "scheme": "InvalidScheme", "ipv6-subnet": "InvalidSubnet"},
	vpc.Combination: {"protocols": "IncompatibleProtocols"},
	vpc.Unsupported: {"action": "InvalidLoadBalancerAction", "protocol": "UnsupportedProtocol"},
}

var byKind = map[vpc.ErrorKind]string{
	vpc.Combination:     "InvalidConfigurationRequest",
	vpc.Unsupported:     "InvalidConfigurationRequest",
	vpc.Duplicate:       "InvalidConfigurationRequest",
	vpc.Limit:           "InvalidConfigurationRequest",
	vpc.InUse:           "ResourceInUse",
	vpc.NoAddress:       "InvalidSubnet",
	vpc.AddressInUse:    "InvalidConfigurationRequest",
	vpc.AddressMismatch: "InvalidConfigurationRequest",
	vpc.NotPermitted:    "OperationNotPermitted",
}

// errorCode turns an error into AWS's code, HTTP status and message. What is
// no error of ours is an internal error whose text stays here.
func errorCode(_ string, err error) (code string, status int, message string) {
	var q *awsquery.Error
	if errors.As(err, &q) {
		code, status := q.Code(awsquery.Query)
		if q.Kind == awsquery.KindMissing {
			code = "ValidationError" // this service's spelling
		}
		return code, status, q.Message()
	}
	var e *vpc.Error
	if !errors.As(err, &e) {
		return "InternalFailure", http.StatusInternalServerError, "An internal error has occurred"
	}
	switch e.Kind {
	case vpc.Denied:
		return "AccessDenied", http.StatusForbidden, e.Error()
	case vpc.Unavailable:
		return "ServiceUnavailable", http.StatusServiceUnavailable, e.Error()
	}
	if code = byKindAndResource[e.Kind][e.Resource]; code == "" {
		code = byKind[e.Kind]
	}
	if code == "" {
		code = "ValidationError"
	}
	return code, http.StatusBadRequest, e.Error()
}
