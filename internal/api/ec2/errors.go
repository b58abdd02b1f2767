// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"errors"
	"net/http"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/vpc"
)

// notFound is AWS's spelling of "no such object" by kind; it differs by type.
var notFound = map[string]string{
	string(vpc.KindVPC):         "InvalidVpcID.NotFound",
	string(vpc.KindSubnet):      "InvalidSubnetID.NotFound",
	string(vpc.KindRouteTable):  "InvalidRouteTableID.NotFound",
	string(vpc.KindGroup):       "InvalidGroup.NotFound",
	string(vpc.KindACL):         "InvalidNetworkAclID.NotFound",
	string(vpc.KindInterface):   "InvalidNetworkInterfaceID.NotFound",
	string(vpc.KindInstance):    "InvalidInstanceID.NotFound",
	string(vpc.KindEndpoint):    "InvalidVpcEndpointId.NotFound",
	string(vpc.KindService):     "InvalidVpcEndpointServiceId.NotFound",
	"vpc-endpoint-item":         "InvalidVpcEndpoint.NotFound",        // per item of a bulk deletion
	"vpc-endpoint-service-item": "InvalidVpcEndpointService.NotFound", // likewise
	string(vpc.KindBalancer):    "InvalidNetworkLoadBalancerArn.NotFound",
	"service-name":              "InvalidServiceName",
	"security-group-rule":       "InvalidSecurityGroupRuleId.NotFound",
	"permission":                "InvalidPermission.NotFound",
	"route":                     "InvalidRoute.NotFound",
	"network-acl-entry":         "InvalidNetworkAclEntry.NotFound",
	"association":               "InvalidAssociationID.NotFound",
	"prefix-list":               "InvalidPrefixListID.NotFound",
	"dhcp-options":              "InvalidDhcpOptionID.NotFound",
	"attachment":                "InvalidAttachmentID.NotFound",
	"availability-zone":         "InvalidParameterValue",
}

// malformed is AWS's spelling of an id that cannot be one.
var malformed = map[string]string{
	string(vpc.KindVPC):        "InvalidVpcID.Malformed",
	string(vpc.KindSubnet):     "InvalidSubnetID.Malformed",
	string(vpc.KindRouteTable): "InvalidRouteTableId.Malformed",
	string(vpc.KindGroup):      "InvalidGroupId.Malformed",
	string(vpc.KindACL):        "InvalidNetworkAclId.Malformed",
	string(vpc.KindInterface):  "InvalidNetworkInterfaceId.Malformed",
	string(vpc.KindInstance):   "InvalidInstanceID.Malformed",
	string(vpc.KindEndpoint):   "InvalidVpcEndpointId.Malformed",
	string(vpc.KindService):    "InvalidVpcEndpointServiceIdId.Malformed",
	string(vpc.KindBalancer):   "InvalidNetworkLoadBalancerArn.Malformed",
	"security-group-rule":      "InvalidSecurityGroupRuleId.Malformed",
	"permission":               "InvalidPermission.Malformed",
	"prefix-list":              "InvalidPrefixListId.Malformed",
	"image":                    "InvalidAMIID.Malformed",
	"tagged-resource":          "InvalidID",
}

// byKindAndResource holds the codes that depend on both.
var byKindAndResource = map[vpc.ErrorKind]map[string]string{
	vpc.BadFilter:   {"vpc-endpoint-connection": "InvalidFilter"},
	vpc.Unsupported: {"principal": "UnknownPrincipalType.Unsupported"},
	vpc.OutOfRange:  {string(vpc.KindVPC): "InvalidVpc.Range", string(vpc.KindSubnet): "InvalidSubnet.Range"},
	vpc.Conflict:    {string(vpc.KindSubnet): "InvalidSubnet.Conflict", "private-dns": "InvalidParameter"},
	vpc.Duplicate: {
		string(vpc.KindGroup): "InvalidGroup.Duplicate", "permission": "InvalidPermission.Duplicate",
		"route": "RouteAlreadyExists", "network-acl-entry": "NetworkAclEntryAlreadyExists",
		string(vpc.KindService): "InvalidParameter", string(vpc.KindInterface): "InvalidIPAddress.InUse",
	},
	vpc.Limit: {
		string(vpc.KindVPC): "VpcLimitExceeded", string(vpc.KindInstance): "InstanceLimitExceeded", string(vpc.KindSubnet): "SubnetLimitExceeded",
		string(vpc.KindEndpoint): "VpcEndpointLimitExceeded", "tag": "TagLimitExceeded",
		"route": "RouteLimitExceeded", string(vpc.KindRouteTable): "RouteTableLimitExceeded",
		"permission": "RulesPerSecurityGroupLimitExceeded", string(vpc.KindGroup): "SecurityGroupsPerInterfaceLimitExceeded",
		"filter": "FilterLimitExceeded", "network-acl-entry": "NetworkAclEntryLimitExceeded",
	},
	vpc.NotPermitted: {string(vpc.KindGroup): "CannotDelete"},
	vpc.WrongState:   {string(vpc.KindInstance): "IncorrectInstanceState", "vpc-endpoint-connection": "InvalidState", string(vpc.KindEndpoint): "IncorrectState"},
	vpc.InUse:        {"attached-interface": "InvalidNetworkInterface.InUse", string(vpc.KindInterface): "InvalidParameterValue"},
	// InvalidParameter (not ...Value) is the endpoint family's answer to a
	// value that does not fit.
	vpc.Invalid: {"endpoint-parameter": "InvalidParameter", "vpc-endpoint-type": "InvalidVpcEndpointType", "principal": "InvalidPrincipal"},
}

var byKind = map[vpc.ErrorKind]string{
	vpc.NotFound:            "InvalidParameterValue",
	vpc.Malformed:           "InvalidParameterValue",
	vpc.Missing:             "MissingParameter",
	vpc.Invalid:             "InvalidParameterValue",
	vpc.Combination:         "InvalidParameterCombination",
	vpc.Unsupported:         "UnsupportedOperation",
	vpc.Duplicate:           "InvalidParameterValue",
	vpc.Conflict:            "InvalidParameterValue",
	vpc.InUse:               "DependencyViolation",
	vpc.OutOfRange:          "InvalidParameterValue",
	vpc.Limit:               "ResourceLimitExceeded",
	vpc.NoAddress:           "InsufficientFreeAddressesInSubnet",
	vpc.AddressInUse:        "InvalidIPAddress.InUse",
	vpc.AddressMismatch:     "InvalidParameterValue",
	vpc.Reserved:            "InvalidGroup.Reserved",
	vpc.NotPermitted:        "OperationNotPermitted",
	vpc.WrongState:          "IncorrectState",
	vpc.TokenMismatch:       "IdempotentParameterMismatch",
	vpc.BadPolicy:           "InvalidPolicyDocument",
	vpc.BadFilter:           "InvalidParameterValue",
	vpc.BadToken:            "InvalidNextToken",
	vpc.DuplicateZone:       "DuplicateSubnetsInSameZone",
	vpc.ExistingConnections: "ExistingVpcEndpointConnections",
	vpc.AlreadyAssociated:   "Resource.AlreadyAssociated",
}

// errorCode turns an error into AWS's code, HTTP status and message for an
// action. What is no error of ours is an internal error whose text stays here.
func errorCode(action string, err error) (code string, status int, message string) {
	var q *awsquery.Error
	if errors.As(err, &q) {
		code, status := q.Code(awsquery.EC2)
		return code, status, q.Message()
	}
	var e *vpc.Error
	if !errors.As(err, &e) {
		return "InternalError", http.StatusInternalServerError, "An internal error has occurred"
	}
	switch e.Kind {
	case vpc.DryRun:
		return "DryRunOperation", http.StatusPreconditionFailed, e.Error()
	case vpc.Denied:
		return "UnauthorizedOperation", http.StatusForbidden, e.Error()
	case vpc.Unavailable:
		return "Unavailable", http.StatusServiceUnavailable, e.Error()
	case vpc.NoCapacity:
		return "InsufficientInstanceCapacity", http.StatusServiceUnavailable, e.Error()
	}
	return code4(e), http.StatusBadRequest, e.Error()
}

// code4 is AWS's code for a client error of the domain.
func code4(e *vpc.Error) string {
	var c string
	switch e.Kind {
	case vpc.NotFound:
		c = notFound[e.Resource]
	case vpc.Malformed:
		c = malformed[e.Resource]
	default:
		c = byKindAndResource[e.Kind][e.Resource]
	}
	if c == "" {
		c = byKind[e.Kind]
	}
	if c == "" {
		c = "InvalidParameterValue"
	}
	return c
}
