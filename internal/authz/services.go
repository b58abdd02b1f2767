// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"cmp"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// elbKinds are the objects of load balancing by the word in their ARN.
var elbKinds = map[string]vpc.Kind{
	"loadbalancer": vpc.KindBalancer, "targetgroup": vpc.KindTargetGroup, "listener": vpc.KindListener,
}

// elb makes the checks of a load balancing call.
func (b *builder) elb() {
	if strings.HasPrefix(b.r.Action, "Describe") {
		b.add("*", nil)
		return
	}
	name := b.r.Params.Get("Name")
	made := ""
	switch b.r.Action {
	case "CreateLoadBalancer":
		made = b.arn(ELB, "loadbalancer/net/"+name+"/*")
	case "CreateTargetGroup":
		made = b.arn(ELB, "targetgroup/"+name+"/*")
	}
	tags := keys{}
	b.requestTags("Tags.member.", tags)
	if made != "" {
		b.add(made, tags)
	}
	for _, param := range b.names {
		last := strings.TrimSuffix(lastPiece(param), ".member")
		top, _, nested := strings.Cut(param, ".")
		if nested && top != "ResourceArns" || !strings.HasSuffix(last, "Arn") && top != "ResourceArns" {
			continue // what an action forwards to is not what it changes
		}
		arn := b.r.Params.Get(param)
		context := keys{}
		if top == "ResourceArns" {
			b.requestTags("Tags.member.", context)
			b.tagKeys(context)
		}
		if o := b.elbObject(arn); o != nil {
			resourceTags(ELB, tagsOf(o, b.p.Account), context)
		}
		b.add(arn, context)
	}
	if len(b.out) == 0 {
		b.add("*", nil)
	}
	if len(tags) > 0 && strings.HasPrefix(b.r.Action, "Create") {
		tags.set("elasticloadbalancing:CreateAction", b.r.Action)
		resource := made
		if resource == "" { // a listener: its ARN begins as its balancer's
			resource = strings.Replace(b.r.Params.Get("LoadBalancerArn"), ":loadbalancer/", ":listener/", 1) + "/*"
		}
		b.addAction("AddTags", resource, tags)
	}
}

func (b *builder) elbObject(arn string) vpc.Object {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 {
		return nil
	}
	word, _, _ := strings.Cut(part[5], "/")
	kind, ok := elbKinds[word]
	if !ok {
		return nil
	}
	return b.object(resourceType{kind: kind}, arn)
}

// tagKeys adds the keys of an untagging call.
func (b *builder) tagKeys(context keys) {
	for _, name := range b.names {
		if strings.HasPrefix(name, "TagKeys.member.") {
			context["aws:TagKeys"] = append(context["aws:TagKeys"], b.r.Params.Get(name))
		}
	}
}

// iam makes the check of an IAM call: on the user, role or policy it is about.
func (b *builder) iam() {
	context := keys{}
	b.requestTags("Tags.member.", context)
	b.tagKeys(context)
	p := b.r.Params
	get := p.Get
	if arn := get("PolicyArn"); arn != "" && (strings.HasPrefix(b.r.Action, "Attach") || strings.HasPrefix(b.r.Action, "Detach")) {
		context.set("iam:PolicyARN", arn)
	} else if arn != "" {
		if m, ok := vpc.PolicyNamed(b.v, b.p.Account, arn); ok {
			resourceTags(IAM, m.Tags, context)
		}
		b.add(arn, context)
		return
	}
	name, path := "", get("Path")
	if path == "" {
		path = "/"
	}
	switch {
	case b.r.Action == "CreatePolicy":
		b.add(b.iamARN("policy"+path+get("PolicyName")), context)
		return
	case get("UserName") != "":
		name = get("UserName")
		if u, ok := vpc.UserNamed(b.v, b.p.Account, name); ok {
			path = u.Path
			resourceTags(IAM, u.Tags, context)
		}
		b.add(b.iamARN("user"+path+name), context)
		if newName, newPath := get("NewUserName"), get("NewPath"); b.r.Action == "UpdateUser" && newName+newPath != "" {
			// Who gives a user another name must be allowed on that one too.
			b.add(b.iamARN("user"+cmp.Or(newPath, path)+cmp.Or(newName, name)), context)
		}
		return
	case get("RoleName") != "":
		name = get("RoleName")
		if r, ok := vpc.RoleNamed(b.v, b.p.Account, name); ok {
			path = r.Path
			resourceTags(IAM, r.Tags, context)
		}
		b.add(b.iamARN("role"+path+name), context)
		return
	case slices.Contains(ownByDefault, b.r.Action):
		// Without a name these are about the user who calls.
		if u, ok := vpc.Get[vpc.User](b.v, b.p.User); ok {
			resourceTags(IAM, u.Tags, context)
			b.add(u.ARN(), context)
			return
		}
	}
	b.add("*", context)
}

// ownByDefault are the actions whose UserName may be left out.
var ownByDefault = []string{
	"GetUser", "CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey", "ListAccessKeys",
	"ListMFADevices", "ListSSHPublicKeys", "ListSigningCertificates", "ListServiceSpecificCredentials",
}

func (b *builder) iamARN(resource string) string {
	return "arn:aws:iam::" + string(b.p.Account) + ":" + resource
}
