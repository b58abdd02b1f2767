// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"postern.dev/postern/internal/vpc"
)

// resourceType is what an id's prefix says of it.
type resourceType struct {
	name string // AWS's resource type, as in ARNs
	// kind is the object's; "" for what is no object of its own, which find looks for.
	kind vpc.Kind
	find func(v vpc.View, id string) (vpc.Object, bool)
	// container is set for associations and attachments: the resource is the
	// object that holds them.
	container bool
}

// resourceTypes are the resources of EC2 by their ids' prefix. Ids with other
// prefixes are resources with the prefix as their type and without tags.
var resourceTypes = map[string]resourceType{
	vpc.PrefixVPC:             {name: "vpc", kind: vpc.KindVPC},
	vpc.PrefixSubnet:          {name: "subnet", kind: vpc.KindSubnet},
	vpc.PrefixRouteTable:      {name: "route-table", kind: vpc.KindRouteTable},
	vpc.PrefixGroup:           {name: "security-group", kind: vpc.KindGroup},
	vpc.PrefixACL:             {name: "network-acl", kind: vpc.KindACL},
	vpc.PrefixInterface:       {name: "network-interface", kind: vpc.KindInterface},
	vpc.PrefixInstance:        {name: "instance", kind: vpc.KindInstance},
	vpc.PrefixEndpoint:        {name: "vpc-endpoint", kind: vpc.KindEndpoint},
	vpc.PrefixService:         {name: "vpc-endpoint-service", kind: vpc.KindService},
	vpc.PrefixDHCPOptions:     {name: "dhcp-options", kind: vpc.KindDHCPOptions},
	vpc.PrefixInternetGateway: {name: "internet-gateway", kind: vpc.KindInternetGateway},
	vpc.PrefixEgressOnly:      {name: "egress-only-internet-gateway", kind: vpc.KindEgressOnly},
	vpc.PrefixNATGateway:      {name: "natgateway", kind: vpc.KindNATGateway},
	vpc.PrefixPeering:         {name: "vpc-peering-connection", kind: vpc.KindPeering},
	vpc.PrefixAllocation:      {name: "elastic-ip", kind: vpc.KindElasticIP},
	vpc.PrefixAddressAssoc:    {name: "elastic-ip", find: by[vpc.ElasticIP](vpc.IndexAssociation), container: true},
	vpc.PrefixNotification:    {name: "vpc-endpoint-connection-notification", kind: vpc.KindNotification},
	vpc.PrefixManagedList:     {name: "prefix-list", kind: vpc.KindPrefixList},
	vpc.PrefixReservation:     {name: "instance"},
	vpc.PrefixConnection:      {name: "vpc-endpoint-connection"},
	vpc.PrefixPermission:      {name: "vpc-endpoint-service-permission"},
	vpc.PrefixRule:            {name: "security-group-rule", find: by[vpc.SecurityGroup](vpc.IndexRule)},
	vpc.PrefixRouteAssoc:      {name: "route-table", find: by[vpc.RouteTable](vpc.IndexAssociation), container: true},
	vpc.PrefixACLAssoc:        {name: "network-acl", find: by[vpc.NetworkACL](vpc.IndexAssociation), container: true},
	vpc.PrefixAttachment:      {name: "network-interface", find: by[vpc.NetworkInterface]("attachment"), container: true},
	vpc.PrefixCIDRAssoc:       {name: "vpc", find: vpcOfCIDR, container: true},
	vpc.PrefixSubnetCIDRAssoc: {name: "subnet", find: subnetOfCIDR, container: true},
	"ami":                     {name: "image"},
}

type object[T any] interface {
	*T
	vpc.Object
}

func by[T any, P object[T]](index string) func(vpc.View, string) (vpc.Object, bool) {
	return func(v vpc.View, id string) (vpc.Object, bool) {
		o, ok := vpc.First[T, P](v, index, id)
		return o, ok
	}
}

func vpcOfCIDR(v vpc.View, id string) (vpc.Object, bool) {
	for o := range vpc.All[vpc.VPC](v) {
		if slices.ContainsFunc(slices.Concat(o.CIDRs, o.IPv6), func(a vpc.CIDRAssociation) bool { return a.ID == id }) {
			return o, true
		}
	}
	return nil, false
}

func subnetOfCIDR(v vpc.View, id string) (vpc.Object, bool) {
	for o := range vpc.All[vpc.Subnet](v) {
		if o.IPv6.ID == id {
			return o, true
		}
	}
	return nil, false
}

// makes says what an action makes, in AWS's resource types. An action whose
// name begins with Create and that is not here makes what its name says; an
// empty list is for those that make no resource.
var makes = map[string][]string{
	"CreateRoute":                             {},
	"CreateNetworkAclEntry":                   {},
	"CreateTags":                              {},
	"CreateDefaultVpc":                        {"vpc"},
	"CreateDefaultSubnet":                     {"subnet"},
	"CreateNatGateway":                        {"natgateway"},
	"CreateManagedPrefixList":                 {"prefix-list"},
	"CreateVpcEndpointServiceConfiguration":   {"vpc-endpoint-service"},
	"CreateVpcEndpointConnectionNotification": {},
	"AllocateAddress":                         {"elastic-ip"},
	"RunInstances":                            {"instance", "network-interface", "volume"},
}

// names says by which parameters an action names its resources, where not
// every id is one: rules and routes name others only as a source or a way.
var names = map[string][]string{
	"CreateRoute": {"RouteTableId"}, "ReplaceRoute": {"RouteTableId"}, "DeleteRoute": {"RouteTableId"},
	"AuthorizeSecurityGroupIngress": {"GroupId"}, "AuthorizeSecurityGroupEgress": {"GroupId"},
	"RevokeSecurityGroupIngress": {"GroupId", "SecurityGroupRuleId"}, "RevokeSecurityGroupEgress": {"GroupId", "SecurityGroupRuleId"},
	"UpdateSecurityGroupRuleDescriptionsIngress": {"GroupId", "SecurityGroupRuleId"},
	"UpdateSecurityGroupRuleDescriptionsEgress":  {"GroupId", "SecurityGroupRuleId"},
	"ModifySecurityGroupRules":                   {"GroupId", "SecurityGroupRuleId"},
	// The endpoints are the consumers'.
	"AcceptVpcEndpointConnections": {"ServiceId"}, "RejectVpcEndpointConnections": {"ServiceId"},
}

// ec2 makes the checks of an EC2 call: on every resource it names and makes,
// and for CreateTags on what it makes with tags. Describe calls have no resource.
func (b *builder) ec2() {
	if strings.HasPrefix(b.r.Action, "Describe") {
		b.add("*", b.ec2Keys())
		return
	}
	for _, kind := range b.made() {
		context := b.ec2Keys()
		if id := b.r.Params.Get("VpcId"); prefixOf(id) == vpc.PrefixVPC {
			context.set("ec2:Vpc", b.arn(EC2, "vpc/"+id))
		}
		switch kind {
		case "vpc-endpoint":
			b.offerKeys(b.r.Params.Get("ServiceName"), context)
			region := b.r.Params.Get("ServiceRegion")
			if region == "" {
				region = b.r.Region
			}
			context.set("ec2:VpceServiceRegion", region)
		case "vpc-endpoint-service":
			context.set("ec2:VpceServicePrivateDnsName", b.r.Params.Get("PrivateDnsName"))
		}
		for _, spec := range b.tagSpecs(kind) {
			b.requestTags(spec, context)
		}
		b.add(b.arn(EC2, kind+"/*"), context)
	}
	for _, id := range b.ids() {
		arn, context := b.ec2Resource(id)
		if b.r.Action == "CreateTags" || b.r.Action == "DeleteTags" {
			b.requestTags("Tag.", context)
		}
		b.add(arn, context)
	}
	if len(b.out) == 0 {
		b.add("*", b.ec2Keys())
	}
	b.tagsOnCreation()
}

func (b *builder) ec2Keys() keys {
	k := keys{}
	k.set("ec2:Region", b.r.Region)
	return k
}

// made lists the types of what the action makes.
func (b *builder) made() []string {
	list, known := makes[b.r.Action]
	if rest, ok := strings.CutPrefix(b.r.Action, "Create"); ok && !known {
		return []string{kebab(rest)}
	}
	list = slices.Clone(list)
	if b.r.Action == "RunInstances" && slices.ContainsFunc(b.ids(), func(id string) bool { return vpc.ValidID(vpc.PrefixInterface, id) }) {
		list = slices.DeleteFunc(list, func(kind string) bool { return kind == "network-interface" })
	}
	return list
}

// kebab turns VpcEndpoint into vpc-endpoint.
func kebab(name string) string {
	var b strings.Builder
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// ids are the ids of the resources the request names, each once. They are the
// values of parameters whose names end in Id, with or without an index, and
// those of what is named by a name or an address.
func (b *builder) ids() []string {
	only, restricted := names[b.r.Action]
	var out []string
	seen := map[string]bool{}
	add := func(id string) {
		if prefix := prefixOf(id); prefix != "" && !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	for _, name := range b.names {
		last := lastPiece(name)
		switch {
		case name == "GroupName" && b.r.Action != "CreateSecurityGroup", last == "SecurityGroup":
			add(b.groupNamed(b.r.Params.Get(name)))
		case name == "PublicIp":
			add(b.addressAt(b.r.Params.Get(name)))
		}
		if !strings.HasSuffix(last, "Id") && !strings.HasSuffix(last, "Ids") || restricted && !slices.Contains(only, last) || restricted && strings.HasPrefix(name, "IpPermissions.") {
			continue
		}
		id := b.r.Params.Get(name)
		add(id)
		if restricted && prefixOf(id) == vpc.PrefixRule {
			// Who changes a rule changes its group, named or not.
			if g, ok := vpc.First[vpc.SecurityGroup](b.v, vpc.IndexRule, id); ok && g.Owner == b.p.Account {
				add(string(g.ID))
			}
		}
	}
	return out
}

// groupNamed is the id of a group of the account's default VPC, "" for none.
func (b *builder) groupNamed(name string) string {
	for v := range vpc.By[vpc.VPC](b.v, vpc.IndexOwner, b.p.Account) {
		if !v.Default {
			continue
		}
		for g := range vpc.By[vpc.SecurityGroup](b.v, vpc.IndexVPC, v.ID) {
			if g.Name == name {
				return string(g.ID)
			}
		}
	}
	return ""
}

// addressAt is the allocation of one of the account's public addresses, "" for none.
func (b *builder) addressAt(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return ""
	}
	e, ok := vpc.First[vpc.ElasticIP](b.v, vpc.IndexAddr, a.String())
	if !ok || e.Owner != b.p.Account {
		return ""
	}
	return string(e.ID)
}

// lastPiece is a wire name's last piece that is no index: SubnetId of
// NetworkInterface.1.SubnetId and of SubnetId.1.
func lastPiece(name string) string {
	name = strings.TrimRight(name, "0123456789")
	name = strings.TrimSuffix(name, ".")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// prefixOf is the prefix of a well-formed id, else "".
func prefixOf(id string) string {
	prefix := id[:max(strings.LastIndexByte(id, '-'), 0)]
	if prefix == "" || !vpc.ValidID(prefix, id) || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return ""
	}
	return prefix
}

// ec2Resource is the ARN of what an id names and what is known of it. What the
// caller's account does not have is an ARN in it without anything known.
func (b *builder) ec2Resource(id string) (string, keys) {
	context := b.ec2Keys()
	prefix := prefixOf(id)
	t, ok := resourceTypes[prefix]
	if !ok {
		t = resourceType{name: prefix}
	}
	switch {
	case prefix == "ami":
		return "arn:aws:ec2:" + b.r.Region + "::image/" + id, context
	case prefix == vpc.PrefixManagedList && b.ofRegion(id):
		return "arn:aws:ec2:" + b.r.Region + ":aws:prefix-list/" + id, context
	}
	o := b.object(t, id)
	name := id
	switch {
	case t.container && o == nil:
		name = "*" // nothing that exists
	case t.container:
		name = o.Key()
	}
	if o != nil {
		context.set("ec2:ResourceID", name)
		tags := tagsOf(o, b.p.Account)
		if g, ok := o.(*vpc.SecurityGroup); ok && prefix == vpc.PrefixRule {
			i := slices.IndexFunc(g.Rules, func(r vpc.GroupRule) bool { return string(r.ID) == id })
			tags = g.Rules[i].Tags
		}
		resourceTags(EC2, tags, context)
		if v := vpcOf(o); v != "" {
			context.set("ec2:Vpc", b.arn(EC2, "vpc/"+v))
		}
		switch o := o.(type) {
		case *vpc.Endpoint:
			b.offerKeys(o.ServiceName, context)
			context.set("ec2:VpceServiceRegion", b.r.Region)
		case *vpc.EndpointService:
			name := b.r.Params.Get("PrivateDnsName") // what it is to become
			if name == "" {
				name = o.PrivateDNSName
			}
			context.set("ec2:VpceServicePrivateDnsName", name)
		}
	}
	return b.arn(EC2, t.name+"/"+name), context
}

// object finds what an id names, nil if the caller's account has no such thing.
func (b *builder) object(t resourceType, id string) vpc.Object {
	var o vpc.Object
	var ok bool
	switch {
	case t.kind != "":
		o, ok = b.v.Object(t.kind, id)
	case t.find != nil:
		o, ok = t.find(b.v, id)
	}
	if p, is := o.(*vpc.Peering); ok && is { // of both accounts
		if _, ok := p.Side(b.p.Account); ok {
			return o
		}
		return nil
	}
	if owned, is := o.(vpc.OwnedObject); ok && is && owned.OwnerID() == b.p.Account {
		return o
	}
	return nil
}

// ofRegion reports whether a prefix list is one of the catalogue's.
func (b *builder) ofRegion(id string) bool {
	_, ok := vpc.First[vpc.CatalogueService](b.v, "prefix-list", id)
	return ok
}

// offerKeys are the keys about the service of an endpoint.
func (b *builder) offerKeys(service string, context keys) {
	context.set("ec2:VpceServiceName", service)
	if service != "" && b.r.ServiceOwner != nil {
		context.set("ec2:VpceServiceOwner", b.r.ServiceOwner(service))
	}
}

// tagSpecs are the prefixes of the tags for resources of a type:
// TagSpecification.1.Tag. and so on.
func (b *builder) tagSpecs(kind string) []string {
	var out []string
	for _, name := range b.names {
		spec, ok := strings.CutSuffix(name, ".ResourceType")
		if ok && strings.HasPrefix(spec, "TagSpecification.") && b.r.Params.Get(name) == kind {
			out = append(out, spec+".Tag.")
		}
	}
	return out
}

// tagsOnCreation adds the checks of ec2:CreateTags for what is made with tags.
func (b *builder) tagsOnCreation() {
	kinds := map[string]bool{}
	for _, name := range b.names {
		if strings.HasPrefix(name, "TagSpecification.") && strings.HasSuffix(name, ".ResourceType") {
			kinds[b.r.Params.Get(name)] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		context := b.ec2Keys()
		for _, spec := range b.tagSpecs(kind) {
			b.requestTags(spec, context)
		}
		if len(context["aws:TagKeys"]) == 0 {
			continue
		}
		context.set("ec2:CreateAction", b.r.Action)
		b.addAction("CreateTags", b.arn(EC2, kind+"/*"), context)
	}
}

// tagsOf and vpcOf read the fields that most resources have, so that a new
// kind of resource needs no line here.
// tagsOf are the tags that an account has given an object of its own.
func tagsOf(o vpc.Object, account vpc.AccountID) vpc.Tags {
	if p, ok := o.(*vpc.Peering); ok {
		side, _ := p.Side(account)
		return side.Tags
	}
	tags, _ := field(o, "Tags").(vpc.Tags)
	return tags
}

func vpcOf(o vpc.Object) string {
	id, _ := field(o, "VPC").(vpc.VPCID)
	return string(id)
}

func field(o vpc.Object, name string) any {
	if f := reflect.ValueOf(o).Elem().FieldByName(name); f.IsValid() {
		return f.Interface()
	}
	return nil
}
