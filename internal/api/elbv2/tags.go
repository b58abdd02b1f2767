// SPDX-License-Identifier: Apache-2.0

package elbv2

import (
	"strconv"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/vpc"
)

func init() {
	register("AddTags", addTags)
	register("RemoveTags", removeTags)
	register("DescribeTags", describeTags)
	register("DescribeAccountLimits", describeAccountLimits)
}

// maxTagged bounds the resources of one tag call, as AWS does.
const maxTagged = 20

// taggable reads the ARNs of a tag call; each must exist.
func taggable(call *Call, list []string) ([]vpc.ARN, error) {
	if len(list) > maxTagged {
		return nil, vpc.Errorf(vpc.Invalid, "ResourceArns", "", "At most %d resource ARNs can be specified, not %d", maxTagged, len(list))
	}
	var out []vpc.ARN
	v := call.View()
	for _, s := range list {
		kind, ok := control.ELBKind(vpc.ARN(s))
		if !ok {
			return nil, vpc.Errorf(vpc.Malformed, "ResourceArns", s, "'%.256s' is not a valid resource ARN", s)
		}
		if _, err := control.ELBTags(v, call.Caller, vpc.ARN(s)); err != nil {
			return nil, vpc.Errorf(vpc.NotFound, string(kind), s, "One or more %ss not found: '%.256s'", nouns[kind], s)
		}
		out = append(out, vpc.ARN(s))
	}
	return out, nil
}

// AddTagsInput is the input of AddTags.
type AddTagsInput struct {
	ResourceArns []string `query:"ResourceArns,required"`
	Tags         []Tag    `query:"Tags,required"`
}

func addTags(call *Call, in *AddTagsInput) (*void, error) {
	arns, err := taggable(call, in.ResourceArns)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.SetELBTags(call.Context, call.Caller, arns, tags, nil)
}

// RemoveTagsInput is the input of RemoveTags.
type RemoveTagsInput struct {
	ResourceArns []string `query:"ResourceArns,required"`
	TagKeys      []string `query:"TagKeys,required"`
}

func removeTags(call *Call, in *RemoveTagsInput) (*void, error) {
	arns, err := taggable(call, in.ResourceArns)
	if err != nil {
		return nil, err
	}
	return &void{}, call.Control.SetELBTags(call.Context, call.Caller, arns, nil, in.TagKeys)
}

// DescribeTagsInput is the input of DescribeTags.
type DescribeTagsInput struct {
	ResourceArns []string `query:"ResourceArns,required"`
}

// DescribeTagsOutput is the output of DescribeTags.
type DescribeTagsOutput struct {
	Descriptions []TagDescription `xml:"TagDescriptions"`
}

// TagDescription are the tags of one resource.
type TagDescription struct {
	ResourceArn string `xml:"ResourceArn"`
	Tags        []Tag  `xml:"Tags"`
}

func describeTags(call *Call, in *DescribeTagsInput) (*DescribeTagsOutput, error) {
	arns, err := taggable(call, in.ResourceArns)
	if err != nil {
		return nil, err
	}
	v := call.View()
	out := &DescribeTagsOutput{}
	for _, arn := range arns {
		tags, err := control.ELBTags(v, call.Caller, arn)
		if err != nil {
			return nil, err
		}
		out.Descriptions = append(out.Descriptions, TagDescription{string(arn), tagList(tags)})
	}
	return out, nil
}

// DescribeAccountLimitsInput is the input of DescribeAccountLimits.
type DescribeAccountLimitsInput struct {
	Page
}

// DescribeAccountLimitsOutput is the output of DescribeAccountLimits.
type DescribeAccountLimitsOutput struct {
	Limits     []Limit `xml:"Limits"`
	NextMarker string  `xml:"NextMarker,omitempty"`
}

// Limit is one quota.
type Limit struct {
	Name string `xml:"Name"`
	Max  string `xml:"Max"`
}

func describeAccountLimits(call *Call, in *DescribeAccountLimitsInput) (*DescribeAccountLimitsOutput, error) {
	q := call.Control.Quotas
	// In name order, as the marker needs it.
	list := []Limit{
		{"listeners-per-network-load-balancer", strconv.Itoa(q.ListenersPerLoadBalancer)},
		{"network-load-balancers", strconv.Itoa(q.LoadBalancers)},
		{"target-groups", strconv.Itoa(q.TargetGroups)},
		{"targets-per-network-load-balancer", strconv.Itoa(q.TargetsPerLoadBalancer)},
	}
	list, next, err := paginate(list, in.Page, func(l Limit) string { return l.Name })
	if err != nil {
		return nil, err
	}
	return &DescribeAccountLimitsOutput{Limits: list, NextMarker: next}, nil
}
