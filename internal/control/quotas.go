// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"reflect"
	"strings"
)

// Quotas bound what one account may make in the region. A field that is zero
// is AWS's default; the operator's configuration has the same names.
type Quotas struct {
	VPCs                     int `json:"vpcs,omitempty"`                       // per account
	CIDRsPerVPC              int `json:"cidrsPerVpc,omitempty"`                // IPv4 blocks
	IPv6CIDRsPerVPC          int `json:"ipv6CidrsPerVpc,omitempty"`            //
	SubnetsPerVPC            int `json:"subnetsPerVpc,omitempty"`              //
	RouteTablesPerVPC        int `json:"routeTablesPerVpc,omitempty"`          //
	RoutesPerTable           int `json:"routesPerTable,omitempty"`             // prefix lists count their entries
	ACLsPerVPC               int `json:"networkAclsPerVpc,omitempty"`          //
	GroupsPerVPC             int `json:"securityGroupsPerVpc,omitempty"`       //
	RulesPerGroup            int `json:"rulesPerSecurityGroup,omitempty"`      // per direction and family; at most 1,000
	GroupsPerInterface       int `json:"securityGroupsPerInterface,omitempty"` // at most 16
	PrefixLists              int `json:"prefixLists,omitempty"`                // per account
	InterfaceEndpointsPerVPC int `json:"interfaceEndpointsPerVpc,omitempty"`   //
	GatewayEndpoints         int `json:"gatewayEndpoints,omitempty"`           // per account
	PrincipalsPerService     int `json:"principalsPerService,omitempty"`       //
	Notifications            int `json:"connectionNotifications,omitempty"`    // per account
	LoadBalancers            int `json:"loadBalancers,omitempty"`              // per account
	ListenersPerLoadBalancer int `json:"listenersPerLoadBalancer,omitempty"`   //
	TargetGroups             int `json:"targetGroups,omitempty"`               // per account
	TargetsPerLoadBalancer   int `json:"targetsPerLoadBalancer,omitempty"`     //
	InternetGateways         int `json:"internetGateways,omitempty"`           // per account
	EgressOnlyGateways       int `json:"egressOnlyGateways,omitempty"`         // per account
	NATGatewaysPerZone       int `json:"natGatewaysPerZone,omitempty"`         // of an account
	ElasticIPs               int `json:"elasticIps,omitempty"`                 // per account
	PeeringsPerVPC           int `json:"activePeeringsPerVpc,omitempty"`       //
	PeeringRequests          int `json:"peeringRequestsPerVpc,omitempty"`      // unanswered
	HostedZones              int `json:"hostedZones,omitempty"`                // per account
	RecordSetsPerZone        int `json:"recordSetsPerHostedZone,omitempty"`    //
	ResolverEndpoints        int `json:"resolverEndpoints,omitempty"`          // per account
	AddressesPerResolver     int `json:"addressesPerResolverEndpoint,omitempty"`
	ResolverRules            int `json:"resolverRules,omitempty"` // per account
	TargetsPerResolverRule   int `json:"targetsPerResolverRule,omitempty"`
	ResolverAssociations     int `json:"resolverRuleAssociations,omitempty"` // per account
}

// DefaultQuotas are AWS's defaults (Amazon VPC, AWS PrivateLink, Elastic
// Load Balancing and Route 53 Resolver quotas in their user guides). For connection notifications
// AWS names none.
var DefaultQuotas = Quotas{
	VPCs: 5, CIDRsPerVPC: 5, IPv6CIDRsPerVPC: 5, SubnetsPerVPC: 200, RouteTablesPerVPC: 200, RoutesPerTable: 50, ACLsPerVPC: 200,
	GroupsPerVPC: 2500, RulesPerGroup: 60, GroupsPerInterface: 5, PrefixLists: 100,
	InterfaceEndpointsPerVPC: 50, GatewayEndpoints: 20, PrincipalsPerService: 1000,
	Notifications: 100, LoadBalancers: 50, ListenersPerLoadBalancer: 50, TargetGroups: 3000, TargetsPerLoadBalancer: 500,
	InternetGateways: 5, EgressOnlyGateways: 5, NATGatewaysPerZone: 5, ElasticIPs: 5, PeeringsPerVPC: 50, PeeringRequests: 25,
	HostedZones: 500, RecordSetsPerZone: 10_000,
	ResolverEndpoints: 4, AddressesPerResolver: 6, ResolverRules: 1000, TargetsPerResolverRule: 6, ResolverAssociations: 2000,
}

// withDefaults fills the fields that are zero.
func (q Quotas) withDefaults() Quotas {
	v, d := reflect.ValueOf(&q).Elem(), reflect.ValueOf(DefaultQuotas)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			v.Field(i).Set(d.Field(i))
		}
	}
	return q
}

// Check refuses a quota that cannot be.
func (q Quotas) Check() error {
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if n := v.Field(i).Int(); n < 0 || n > 1_000_000 {
			return fmt.Errorf("quota %s: %d, want 1 to 1000000, or nothing for AWS's default", name, n)
		}
	}
	// The datapath holds at most this many groups of an interface, and rules.
	if q.GroupsPerInterface > 16 {
		return fmt.Errorf("quota securityGroupsPerInterface: %d, want at most 16", q.GroupsPerInterface)
	}
	if q.RulesPerGroup > 1000 {
		return fmt.Errorf("quota rulesPerSecurityGroup: %d, want at most 1000", q.RulesPerGroup)
	}
	return nil
}
