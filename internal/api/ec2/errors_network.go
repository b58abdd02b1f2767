// SPDX-License-Identifier: Apache-2.0

package ec2

import (
	"maps"

	"postern.dev/postern/internal/vpc"
)

// The codes of the network family that are not in the tables of errors.go.
func init() {
	maps.Copy(notFound, map[string]string{
		"cidr-block":                  "InvalidVpcCidrBlockAssociationID.NotFound",
		"endpoint-service-permission": "InvalidVpcEndpointServicePermissionId.NotFound",
	})
	maps.Copy(malformed, map[string]string{
		"association":  "InvalidAssociationID.Malformed",
		"cidr-block":   "InvalidVpcCidrBlockAssociationID.Malformed",
		"dhcp-options": "InvalidDhcpOptionsId.Malformed",
	})
	for kind, codes := range map[vpc.ErrorKind]map[string]string{
		vpc.Conflict:    {string(vpc.KindVPC): "InvalidVpc.Conflict"},
		vpc.InUse:       {"cidr-block": "InvalidCidrBlock.InUse"},
		vpc.Limit:       {"group-count": "SecurityGroupLimitExceeded", string(vpc.KindACL): "NetworkAclLimitExceeded"},
		vpc.Missing:     {"default-vpc": "VPCIdNotSpecified"},
		vpc.Unsupported: {"route": "RouteNotSupported"},
	} {
		if byKindAndResource[kind] == nil {
			byKindAndResource[kind] = map[string]string{}
		}
		maps.Copy(byKindAndResource[kind], codes)
	}
}
