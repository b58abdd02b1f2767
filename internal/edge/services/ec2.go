// SPDX-License-Identifier: Apache-2.0

package services

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// Each line is an operation and its parameters that hold ids of resources, without
// the numbers of lists, as in the model of aws-sdk-go-v2 1.344.1.
//
//go:embed ec2-operations.txt
var ec2Text string

var ec2Names, ec2Params = ec2Operations(ec2Text)

func ec2Operations(text string) (names string, params map[string]map[string]bool) {
	params = map[string]map[string]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		names += f[0] + " "
		params[f[0]] = map[string]bool{}
		for _, p := range f[1:] {
			params[f[0]][p] = true
		}
	}
	return names, params
}

//go:embed elbv2-operations.txt
var elbv2Names string

// EC2 is Amazon EC2.
var EC2 = &Service{
	Namespace: "ec2", signing: []string{"ec2"}, query: true, maxBody: 256 << 10, operations: all(ec2, ec2Names),
}

// ELB is Elastic Load Balancing, version 2.
var ELB = &Service{
	Namespace: "elasticloadbalancing", signing: []string{"elasticloadbalancing"}, query: true, maxBody: 256 << 10, operations: all(elb, elbv2Names),
}

// types are the resource types of EC2 by their ids' prefix, where that is not
// their name in ARNs. Ids of a part of something have none: which that is, only
// EC2 knows.
var types = map[string]string{
	"vpc": "vpc", "subnet": "subnet", "rtb": "route-table", "sg": "security-group", "sgr": "security-group-rule", "acl": "network-acl",
	"eni": "network-interface", "i": "instance", "vpce": "vpc-endpoint", "vpce-svc": "vpc-endpoint-service", "dopt": "dhcp-options",
	"igw": "internet-gateway", "eigw": "egress-only-internet-gateway", "nat": "natgateway", "pcx": "vpc-peering-connection",
	"eipalloc": "elastic-ip", "pl": "prefix-list", "vol": "volume", "snap": "snapshot", "ami": "image", "lt": "launch-template",
	"key": "key-pair", "cgw": "customer-gateway", "vgw": "vpn-gateway", "vpn": "vpn-connection", "tgw": "transit-gateway",
	"tgw-attach": "transit-gateway-attachment", "tgw-rtb": "transit-gateway-route-table", "fl": "vpc-flow-log", "cr": "capacity-reservation",
	"lgw": "local-gateway", "cagw": "carrier-gateway", "r": "instance",
}

// makes says what an operation makes, where its name does not: Create and the type.
var makes = map[string][]string{
	"CreateRoute": {}, "CreateNetworkAclEntry": {}, "CreateTags": {}, "CreateVpcEndpointConnectionNotification": {},
	"CreateDefaultVpc": {"vpc"}, "CreateDefaultSubnet": {"subnet"}, "CreateNatGateway": {"natgateway"},
	"CreateManagedPrefixList": {"prefix-list"}, "CreateVpcEndpointServiceConfiguration": {"vpc-endpoint-service"},
	"CreateFlowLogs": {"vpc-flow-log"}, "AllocateAddress": {"elastic-ip"}, "RunInstances": {"instance", "network-interface", "volume"},
}

// named are parameters that name a resource otherwise than by its id, which ARNs have
// instead, and the operations that make what they name.
var named = map[string]string{
	"LaunchTemplateName": "CreateLaunchTemplate", "LaunchTemplate.LaunchTemplateName": "", "GroupName": "CreateSecurityGroup CreatePlacementGroup",
	"SecurityGroup": "", "PublicIp": "",
}

var (
	ec2ID = regexp.MustCompile(`^([a-z][a-z-]*)-[0-9a-f]{8,17}$`)
	// A key pair's name is in its ARN; one with * or ? in it would be a pattern.
	keyName    = regexp.MustCompile(`^[^*?\x00-\x1f]{1,255}$`)
	listNumber = regexp.MustCompile(`\.[0-9]+`)
	upper      = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// ec2 is an operation of EC2. "Describe" and what only lists is on "*"; others are
// on what they name and make, and on "*" if that is nothing. They are on "*" too if
// there is an id where the operation has none: a backend may ignore it and do
// something else.
func ec2(r *reader) *call.Error {
	f, ok := r.values.(form)
	if !ok {
		return invalid("EC2 has the query protocol only.")
	}
	if strings.HasPrefix(r.name, "Describe") {
		r.add(r.name, "*")
		return nil
	}
	found := map[string]bool{}
	parts := false
	for name, v := range f {
		if _, ok := cutFold(name, "Tag"); ok && !strings.HasPrefix(name, "Tag") {
			return invalid("The parameter %q could be taken for another.", call.Cut(name, 64))
		}
		if tag, value, ok := ec2Tag(f, name); ok {
			// Two things of one call may get a tag each, with values of their own.
			key := "aws:RequestTag/" + tag
			if !slices.Contains(r.Context[key], value) {
				r.Context[key] = append(r.Context[key], value)
			}
			if !slices.Contains(r.Context["aws:TagKeys"], tag) {
				r.Context["aws:TagKeys"] = append(r.Context["aws:TagKeys"], tag)
			}
			continue
		}
		param := listNumber.ReplaceAllString(name, "")
		if makers, ok := named[param]; ok && v != "" && !slices.Contains(strings.Fields(makers), r.name) {
			parts = true
		}
		if param == "KeyName" && v != "" && r.name != "CreateKeyPair" && r.name != "ImportKeyPair" {
			if !keyName.MatchString(v) {
				return invalid("The name of the key pair is not valid.")
			}
			found[r.arn("ec2", "key-pair/"+v)] = true
			continue
		}
		for id := range strings.SplitSeq(v, ",") {
			m := ec2ID.FindStringSubmatch(id)
			switch {
			case m == nil || strings.HasPrefix(name, "Filter."):
			case types[m[1]] == "" || !ec2Params[r.name][param]:
				parts = true
			case m[1] == "ami" || m[1] == "snap":
				found["arn:aws:ec2:"+r.region+"::"+types[m[1]]+"/"+id] = true
			default:
				found[r.arn("ec2", types[m[1]]+"/"+id)] = true
			}
		}
	}
	made, ok := makes[r.name]
	if thing, isCreate := strings.CutPrefix(r.name, "Create"); !ok && isCreate {
		made = []string{strings.ToLower(upper.ReplaceAllString(thing, "$1-$2"))}
	}
	for _, t := range made {
		found[r.arn("ec2", t+"/*")] = true
	}
	if parts || len(found) == 0 {
		found["*"] = true
	}
	for _, arn := range sortedKeys(found) {
		r.add(r.name, arn)
	}
	if len(r.Context["aws:TagKeys"]) > 0 && r.name != "CreateTags" && r.name != "DeleteTags" {
		for _, t := range made {
			r.Add("ec2:CreateTags", r.arn("ec2", t+"/*"))
		}
		r.Set("ec2:CreateAction", r.name)
	}
	slices.Sort(r.Context["aws:TagKeys"])
	return nil
}

// ec2Tag reads a tag by the name of its key: Tag.1.Key, TagSpecification.1.Tag.1.Key.
func ec2Tag(f form, name string) (key, value string, ok bool) {
	base, ok := strings.CutSuffix(name, ".Key")
	if !ok || !strings.HasPrefix(name, "Tag") {
		return "", "", false
	}
	return f[name], f[base+".Value"], true
}

// elb is an operation of Elastic Load Balancing: on the ARNs it names and on what
// it makes.
func elb(r *reader) *call.Error {
	f, ok := r.values.(form)
	if !ok {
		return invalid("Elastic Load Balancing has the query protocol only.")
	}
	if strings.HasPrefix(r.name, "Describe") {
		r.add(r.name, "*")
		return nil
	}
	found := map[string]bool{}
	for _, v := range f {
		if strings.HasPrefix(v, "arn:") && strings.Contains(v, ":elasticloadbalancing:") {
			if !anyARN.MatchString(v) {
				return invalid("An ARN is not valid.")
			}
			found[v] = true
		}
	}
	name, e := f.text("Name")
	if e != nil {
		return e
	}
	kind, e := f.text("Type")
	if e != nil {
		return e
	}
	short := map[string]string{"": "app", "application": "app", "network": "net", "gateway": "gwy"}[kind]
	switch r.name {
	case "CreateLoadBalancer":
		if short == "" || !resourceName.MatchString(name) {
			return invalid("The load balancer's name or type is not valid.")
		}
		found[r.arn("elasticloadbalancing", "loadbalancer/"+short+"/"+name+"/*")] = true
	case "CreateTargetGroup", "CreateTrustStore":
		if !resourceName.MatchString(name) {
			return invalid("The name is not valid.")
		}
		found[r.arn("elasticloadbalancing", strings.ToLower(strings.TrimPrefix(r.name, "Create"))+"/"+name+"/*")] = true
	}
	if len(found) == 0 {
		found["*"] = true
	}
	for _, arn := range sortedKeys(found) {
		r.add(r.name, arn)
	}
	tag := tagged(func(*reader) *call.Error { return nil }, "Tags", "Key", "Value", "TagKeys")
	if e := tag(r); e != nil {
		return e
	}
	if len(r.Context["aws:TagKeys"]) > 0 && strings.HasPrefix(r.name, "Create") {
		for _, arn := range sortedKeys(found) {
			r.add("AddTags", arn)
		}
		r.Set("elasticloadbalancing:CreateAction", r.name)
	}
	return nil
}

func sortedKeys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
