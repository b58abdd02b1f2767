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
		"subnet-cidr-block":           "InvalidSubnetCidrBlockAssociationID.NotFound",
		"vpc-endpoint-connection":     "InvalidVpcEndpointConnectionId.NotFound",
		"endpoint-service-permission": "InvalidVpcEndpointServicePermissionId.NotFound",

		string(vpc.KindInternetGateway): "InvalidInternetGatewayID.NotFound",
		string(vpc.KindEgressOnly):      "InvalidEgressOnlyInternetGatewayId.NotFound",
		string(vpc.KindNATGateway):      "NatGatewayNotFound",
		string(vpc.KindElasticIP):       "InvalidAllocationID.NotFound",
		"public-address":                "InvalidAddress.NotFound",
		"gateway":                       "InvalidGatewayID.NotFound",
		"default-vpc":                   "DefaultVpcDoesNotExist",
		"instance-type":                 "InvalidInstanceType",
		"volume":                        "InvalidVolume.NotFound",
		"image":                         "InvalidAMIID.NotFound",
		string(vpc.KindPeering):         "InvalidVpcPeeringConnectionID.NotFound",
	})
	maps.Copy(malformed, map[string]string{
		"association":       "InvalidAssociationID.Malformed",
		"cidr-block":        "InvalidVpcCidrBlockAssociationID.Malformed",
		"subnet-cidr-block": "InvalidSubnetCidrBlockAssociationID.Malformed",
		"dhcp-options":      "InvalidDhcpOptionsId.Malformed",

		string(vpc.KindInternetGateway): "InvalidInternetGatewayId.Malformed",
		string(vpc.KindEgressOnly):      "InvalidEgressOnlyInternetGatewayId.Malformed",
		string(vpc.KindNATGateway):      "NatGatewayMalformed",
		string(vpc.KindElasticIP):       "InvalidAllocationID.NotFound", // AWS has no code of its own for it
		"public-address":                "InvalidAddress.Malformed",
		string(vpc.KindPeering):         "InvalidVpcPeeringConnectionId.Malformed",
		"attachment":                    "InvalidNetworkInterfaceAttachmentId.Malformed",
		"volume":                        "InvalidVolumeID.Malformed",
		"user-data":                     "InvalidUserData.Malformed",
	})
	for kind, codes := range map[vpc.ErrorKind]map[string]string{
		vpc.Conflict: {string(vpc.KindVPC): "InvalidVpc.Conflict"},
		vpc.InUse:    {"cidr-block": "InvalidCidrBlock.InUse", string(vpc.KindElasticIP): "InvalidIPAddress.InUse"},
		vpc.Limit: {
			"private-address": "PrivateIpAddressLimitExceeded",
			"attachment":      "AttachmentLimitExceeded",
			"group-count":     "SecurityGroupLimitExceeded", string(vpc.KindACL): "NetworkAclLimitExceeded",
			string(vpc.KindInternetGateway): "InternetGatewayLimitExceeded", string(vpc.KindNATGateway): "NatGatewayLimitExceeded",
			string(vpc.KindElasticIP): "AddressLimitExceeded", "prefix-list-entries": "PrefixListMaxEntriesExceeded",
			"peering-per-vpc": "ActiveVpcPeeringConnectionPerVpcLimitExceeded", "peering-outstanding": "OutstandingVpcPeeringConnectionLimitExceeded",
		},
		vpc.Missing: {"default-vpc": "VPCIdNotSpecified", "default-subnet": "MissingInput"},
		vpc.Duplicate: {
			"default-vpc": "DefaultVpcAlreadyExists", "default-subnet": "DefaultSubnetAlreadyExistsInAvailabilityZone",
			string(vpc.KindPeering): "VpcPeeringConnectionAlreadyExists",
		},
		vpc.NoAddress:    {string(vpc.KindElasticIP): "InsufficientAddressCapacity", "ipv6-pool": "InsufficientAddressCapacity"},
		vpc.NotPermitted: {string(vpc.KindElasticIP): "AuthFailure"},
		vpc.WrongState: {
			"gateway-attachment": "Gateway.NotAttached", "tenancy": "InvalidTenancy", "prefix-list-version": "PrefixListVersionMismatch",
			string(vpc.KindPeering): "InvalidStateTransition",
		},
		vpc.Invalid:     {"prefix-list-modification": "InvalidPrefixListModification"},
		vpc.Unsupported: {"route": "RouteNotSupported"},
	} {
		if byKindAndResource[kind] == nil {
			byKindAndResource[kind] = map[string]string{}
		}
		maps.Copy(byKindAndResource[kind], codes)
	}
}
