// SPDX-License-Identifier: Apache-2.0

package vpc

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
)

// Ids are AWS's: a prefix and 17 lower-case hexadecimal digits. Each resource
// has its own type, so that one cannot be passed for another.
type (
	AccountID           string // 12 decimal digits
	VPCID               string // vpc-...
	SubnetID            string // subnet-...
	RouteTableID        string // rtb-...
	GroupID             string // sg-...
	RuleID              string // sgr-...
	ACLID               string // acl-...
	InterfaceID         string // eni-...
	InstanceID          string // i-...
	EndpointID          string // vpce-...
	ServiceID           string // vpce-svc-...
	PrefixListID        string // pl-...
	HostID              string // host name of a machine that runs the agent
	InternetGatewayID   string // igw-...
	NATGatewayID        string // nat-...
	EgressOnlyGatewayID string // eigw-...
	AllocationID        string // eipalloc-...
	DHCPOptionsID       string // dopt-..., or DHCPNone
	HostedZoneID        string // Z..., Route 53's own form
	ARN                 string // load balancers, target groups and listeners are known by ARN
)

// Id prefixes as they appear on the wire.
const (
	PrefixVPC             = "vpc"
	PrefixSubnet          = "subnet"
	PrefixRouteTable      = "rtb"
	PrefixRouteAssoc      = "rtbassoc"
	PrefixCIDRAssoc       = "vpc-cidr-assoc"
	PrefixSubnetCIDRAssoc = "subnet-cidr-assoc"
	PrefixGroup           = "sg"
	PrefixRule            = "sgr"
	PrefixACL             = "acl"
	PrefixACLAssoc        = "aclassoc"
	PrefixInterface       = "eni"
	PrefixAttachment      = "eni-attach"
	PrefixInstance        = "i"
	PrefixReservation     = "r"
	PrefixEndpoint        = "vpce"
	PrefixService         = "vpce-svc"
	PrefixPermission      = "vpce-svc-perm"
	PrefixConnection      = "vpce-con"
	PrefixManagedList     = "pl"
	PrefixDHCPOptions     = "dopt"
	PrefixInternetGateway = "igw"
	PrefixNATGateway      = "nat"
	PrefixEgressOnly      = "eigw"
	PrefixAllocation      = "eipalloc"
	PrefixAddressAssoc    = "eipassoc"
)

// VNI is the 24-bit number of one isolated space on the wire: every VPC has
// one and every link (accepted endpoint) has one.
type VNI uint32

// Reserved and assignable VNIs. Numbers below FirstVNI are ours.
const (
	// ServiceVNI is the space of the host's own service port.
	ServiceVNI VNI = 1
	// UplinkVNI is the space outside: the host's own network.
	UplinkVNI VNI = 2
	FirstVNI  VNI = 0x1000
	LastVNI   VNI = 0xfffffe
)

// Revision is a store revision; later writes have higher numbers.
type Revision int64

// NewID makes an id such as "vpce-0123456789abcdef0" from prefix and random
// bytes read from rnd.
func NewID(prefix string, rnd io.Reader) (string, error) {
	b := make([]byte, 9)
	if _, err := io.ReadFull(rnd, b); err != nil {
		return "", fmt.Errorf("read random bytes for a new %s id: %w", prefix, err)
	}
	return prefix + "-0" + hex.EncodeToString(b)[:16], nil
}

// ValidID reports whether s is a well-formed id with this prefix: the prefix,
// a dash and 8 or 17 lower-case hexadecimal digits.
func ValidID(prefix, s string) bool {
	rest, ok := strings.CutPrefix(s, prefix+"-")
	if !ok || len(rest) != 8 && len(rest) != 17 {
		return false
	}
	for _, c := range rest {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Num is the 64-bit number the datapath knows an id by. It is a hash of the
// id, so it survives restarts and is the same on every host without any
// allocation; ids are random and never chosen by a tenant, so collisions are
// as unlikely as those of the ids themselves. It is never 0.
func Num[T ~string](id T) uint64 {
	h := fnv.New64a()
	io.WriteString(h, string(id))
	if n := h.Sum64(); n != 0 {
		return n
	}
	return 1
}

// StableID makes an id that is the same at every start, for what is configured
// rather than created.
func StableID(prefix, of string) string {
	return fmt.Sprintf("%s-0%016x", prefix, Num(prefix+" "+of))
}
