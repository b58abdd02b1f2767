// SPDX-License-Identifier: Apache-2.0

package goldentest

import (
	"fmt"
	"strings"
	"testing"

	"postern.dev/postern/internal/api/awsquery"
)

type tagSpec struct {
	ResourceType string `query:"ResourceType"`
	Tags         []struct {
		Key   string `query:"Key"`
		Value string `query:"Value"`
	} `query:"Tag"`
}

type createVpcEndpoint struct {
	DryRun            *bool     `query:"DryRun"`
	VpcID             string    `query:"VpcId,required"`
	Type              string    `query:"VpcEndpointType,enum=Gateway|Interface"`
	ServiceName       *string   `query:"ServiceName"`
	PolicyDocument    *string   `query:"PolicyDocument"`
	RouteTableIDs     []string  `query:"RouteTableId"`
	SubnetIDs         []string  `query:"SubnetId"`
	SecurityGroupIDs  []string  `query:"SecurityGroupId"`
	IPAddressType     *string   `query:"IpAddressType"`
	ClientToken       *string   `query:"ClientToken"`
	PrivateDNSEnabled *bool     `query:"PrivateDnsEnabled"`
	TagSpecs          []tagSpec `query:"TagSpecification"`
	DNSOptions        *struct {
		RecordIPType     *string          `query:"DnsRecordIpType"`
		InboundOnly      *bool            `query:"PrivateDnsOnlyForInboundResolverEndpoint"`
		Preference       *string          `query:"PrivateDnsPreference"`
		SpecifiedDomains awsquery.Refused `query:"PrivateDnsSpecifiedDomain,refuse"`
	} `query:"DnsOptions"`
	SubnetConfigurations []struct {
		SubnetID *string `query:"SubnetId"`
		IPv4     *string `query:"Ipv4"`
		IPv6     *string `query:"Ipv6"`
	} `query:"SubnetConfiguration"`
	ServiceRegion *string          `query:"ServiceRegion"`
	_             awsquery.Refused `query:"ServiceNetworkArn,refuse"`
	_             awsquery.Refused `query:"ResourceConfigurationArn,refuse"`
}

type authorizeIngress struct {
	DryRun        *bool   `query:"DryRun"`
	GroupID       *string `query:"GroupId"`
	GroupName     *string `query:"GroupName"`
	CidrIP        *string `query:"CidrIp"`
	FromPort      *int32  `query:"FromPort"`
	ToPort        *int32  `query:"ToPort"`
	IPProtocol    *string `query:"IpProtocol"`
	SourceName    *string `query:"SourceSecurityGroupName"`
	SourceOwner   *string `query:"SourceSecurityGroupOwnerId"`
	IPPermissions []struct {
		FromPort   *int32 `query:"FromPort"`
		ToPort     *int32 `query:"ToPort"`
		IPProtocol string `query:"IpProtocol,required"`
		IPRanges   []struct {
			CidrIP      string  `query:"CidrIp"`
			Description *string `query:"Description"`
		} `query:"IpRanges"`
		IPv6Ranges []struct {
			CidrIPv6    string  `query:"CidrIpv6"`
			Description *string `query:"Description"`
		} `query:"Ipv6Ranges"`
		Groups []struct {
			GroupID     *string          `query:"GroupId"`
			GroupName   *string          `query:"GroupName"`
			UserID      *string          `query:"UserId"`
			Description *string          `query:"Description"`
			VpcID       *string          `query:"VpcId"`
			_           awsquery.Refused `query:"VpcPeeringConnectionId,refuse"`
			_           awsquery.Refused `query:"PeeringStatus,refuse"`
		} `query:"Groups"`
		PrefixListIDs []struct {
			PrefixListID string  `query:"PrefixListId"`
			Description  *string `query:"Description"`
		} `query:"PrefixListIds"`
	} `query:"IpPermissions,required"`
	TagSpecs []tagSpec `query:"TagSpecification"`
}

func TestGoldenRequestsDecodeWhole(t *testing.T) {
	var in createVpcEndpoint
	refused := Cover(t, awsquery.EC2, "ec2", "CreateVpcEndpoint", &in)
	if got := strings.Join(refused, " "); got != "DnsOptions.PrivateDnsSpecifiedDomain.1 DnsOptions.PrivateDnsSpecifiedDomain.2 ResourceConfigurationArn ServiceNetworkArn" {
		t.Errorf("refused: %s", got)
	}
	if in.VpcID != "__VpcId__" || len(in.SubnetIDs) != 2 || len(in.SubnetConfigurations) != 2 || in.SubnetConfigurations[1].IPv4 == nil || len(in.TagSpecs) != 2 || in.TagSpecs[1].Tags[1].Key != "__Key__" {
		t.Errorf("decoded %+v", in)
	}
	var rules authorizeIngress
	Cover(t, awsquery.EC2, "ec2", "AuthorizeSecurityGroupIngress", &rules)
	if n := len(rules.IPPermissions); n != 2 || len(rules.IPPermissions[1].Groups) != 2 || *rules.IPPermissions[1].FromPort != 1 || rules.IPPermissions[1].IPRanges[1].CidrIP != "__CidrIp__" {
		t.Errorf("decoded %+v", rules)
	}
}

func TestGoldenRequestsOfTheQueryDialect(t *testing.T) {
	var in struct {
		ARNs     []string `query:"LoadBalancerArns"`
		Names    []string `query:"Names"`
		Marker   *string  `query:"Marker"`
		PageSize *int32   `query:"PageSize"`
	}
	Cover(t, awsquery.Query, "elasticloadbalancingv2", "DescribeLoadBalancers", &in)
	if len(in.ARNs) != 2 || len(in.Names) != 2 || *in.PageSize != 1 {
		t.Errorf("decoded %+v", in)
	}
}

// recorder collects what a test would have failed with.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestCoverFailsOnMissingAndInventedParameters(t *testing.T) {
	var in struct {
		DryRun *bool            `query:"DryRun"`
		IDs    []string         `query:"VpcEndpointId,required"`
		Extra  *string          `query:"VpcEndpointID"`
		_      awsquery.Refused `query:"Invented,refuse"`
	}
	r := &recorder{TB: t}
	Cover(r, awsquery.EC2, "ec2", "DeleteVpcEndpoints", &in)
	if got := strings.Join(r.failures, "\n"); len(r.failures) != 2 || !strings.Contains(got, "VpcEndpointID") || !strings.Contains(got, "Invented") {
		t.Errorf("failures: %s", got)
	}
	var none struct{}
	r = &recorder{TB: t}
	Cover(r, awsquery.EC2, "ec2", "DeleteVpcEndpoints", &none)
	if got := strings.Join(r.failures, "\n"); len(r.failures) != 1 || !strings.Contains(got, "DryRun, VpcEndpointId.N") {
		t.Errorf("failures: %s", got)
	}
}

func TestLoadReadsEveryParameter(t *testing.T) {
	v := Load(t, "DescribeVpcEndpoints")
	if v.Get("Version") != "2016-11-15" || v.Get("Filter.2.Value.2") != "__Member__" || v.Get("MaxResults") != "1" {
		t.Errorf("got %v", v)
	}
}
