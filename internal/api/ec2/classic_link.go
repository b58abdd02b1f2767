// SPDX-License-Identifier: Apache-2.0

package ec2

import "postern.dev/postern/internal/vpc"

// EC2-Classic is gone, but Ansible's VPC module asks for every VPC whether it
// is linked to it, and knows one answer for "there is no such thing": the one
// that AWS's regions without EC2-Classic give.
func init() {
	register("DescribeVpcClassicLink", false, func(*Call, *DescribeVpcClassicLinkInput) (*noClassic, error) { return nil, errNoClassic })
	register("DescribeVpcClassicLinkDnsSupport", false, func(_ *Call, in *DescribeVpcClassicLinkDNSSupportInput) (*noClassic, error) {
		if _, _, err := in.Page.bounds(); err != nil {
			return nil, err
		}
		return nil, errNoClassic
	})
}

var errNoClassic = vpc.Errorf(vpc.Unsupported, "", "", "The functionality you requested is not available in this region.")

// noClassic is the answer that never comes.
type noClassic struct{}

// DescribeVpcClassicLinkInput is the input of DescribeVpcClassicLink.
type DescribeVpcClassicLinkInput struct {
	DryRun
	VpcIDs  []string `query:"VpcId"`
	Filters []Filter `query:"Filter"`
}

// DescribeVpcClassicLinkDNSSupportInput is the input of
// DescribeVpcClassicLinkDnsSupport.
type DescribeVpcClassicLinkDNSSupportInput struct {
	Page
	VpcIDs []string `query:"VpcIds"`
}
