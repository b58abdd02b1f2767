// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

func (w *workloads) resolverEndpoint(request string, inbound bool) *vpc.ResolverEndpoint {
	w.t.Helper()
	e, err := w.CreateResolverEndpoint(w.ctx, controltest.Consumer, w.endpointInput(request, inbound))
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *workloads) endpointInput(request string, inbound bool) control.CreateResolverEndpointInput {
	return control.CreateResolverEndpointInput{
		Request: request, Name: "one", Inbound: inbound, Groups: []vpc.GroupID{w.group}, Tags: vpc.Tags{"a": "b"},
		Addresses: []control.ResolverAddressInput{{Subnet: w.a, Addr: netip.MustParseAddr("10.0.1.53")}, {Subnet: w.b}},
	}
}

func to(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestAResolverEndpointHasInterfacesThatNobodyElseManages(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	e := w.resolverEndpoint("r1", true)
	if !vpc.ValidID(vpc.PrefixResolverInbound, string(e.ID)) || len(e.Addresses) != 2 || e.Addresses[0].Addr != netip.MustParseAddr("10.0.1.53") || e.VPC != w.vpc {
		t.Fatalf("made %+v", e)
	}
	for _, a := range e.Addresses {
		n, ok := vpc.Get[vpc.NetworkInterface](w.View(), a.Interface)
		if !ok || n.Addr != a.Addr || !n.RequesterManaged || n.Type.Shown() != "interface" || !slices.Equal(n.Groups, e.Groups) ||
			n.Description != "Route 53 Resolver: "+string(e.ID)+":"+a.ID {
			t.Errorf("interface %+v", n)
		}
		w.wants("delete an interface", w.DeleteInterface(w.ctx, me, a.Interface), vpc.NotPermitted)
		_, _, err := w.RunInstances(w.ctx, me, control.RunInstancesInput{ImageID: "ami-1", Min: 1, Max: 1, Interface: a.Interface})
		w.wants("run on an interface", err, vpc.InUse)
	}
	// Asked again it is the same one, and never another.
	again, err := w.CreateResolverEndpoint(w.ctx, me, w.endpointInput("r1", true))
	if err != nil || again.ID != e.ID || w.interfaces() != 2 {
		t.Errorf("asked again: %+v, %v, %d interfaces", again, err, w.interfaces())
	}
	other := w.endpointInput("r1", true)
	other.Name = "two"
	_, err = w.CreateResolverEndpoint(w.ctx, me, other)
	w.wants("the same request for another", err, vpc.TokenMismatch)
	if _, err := w.CreateResolverEndpoint(w.ctx, controltest.Provider, w.endpointInput("r1", true)); control.KindOf(err) != vpc.NotFound {
		t.Errorf("another account's request: %v", err)
	}

	more, err := w.AddResolverAddress(w.ctx, me, e.ID, control.ResolverAddressInput{Subnet: w.small})
	if err != nil || len(more.Addresses) != 3 {
		t.Fatalf("a third address: %+v, %v", more, err)
	}
	if _, err := w.RemoveResolverAddress(w.ctx, me, e.ID, control.ResolverAddressRef{Subnet: w.a, Addr: netip.MustParseAddr("10.0.1.53")}); err != nil {
		t.Fatal(err)
	}
	_, err = w.RemoveResolverAddress(w.ctx, me, e.ID, control.ResolverAddressRef{ID: e.Addresses[1].ID})
	w.wants("too few addresses", err, vpc.Combination)
	_, err = w.RemoveResolverAddress(w.ctx, me, e.ID, control.ResolverAddressRef{ID: e.Addresses[0].ID})
	w.wants("an address that is gone", err, vpc.NotFound)
	_, err = w.RemoveResolverAddress(w.ctx, me, e.ID, control.ResolverAddressRef{Subnet: w.b})
	w.wants("no address", err, vpc.Missing)
	if w.interfaces() != 2 {
		t.Errorf("%d interfaces, want 2", w.interfaces())
	}
	if _, err := w.DeleteResolverEndpoint(w.ctx, me, e.ID); err != nil || w.interfaces() != 0 {
		t.Errorf("delete: %v, %d interfaces are left", err, w.interfaces())
	}
	if again := w.resolverEndpoint("r1", true); again.ID == e.ID {
		t.Error("the request's name still stands for what is gone")
	}
}

func TestABadResolverEndpointLeavesNothing(t *testing.T) {
	w := newWorkloads(t)
	type in = control.CreateResolverEndpointInput
	at := func(s vpc.SubnetID, a string) control.ResolverAddressInput {
		return control.ResolverAddressInput{Subnet: s, Addr: netip.MustParseAddr(a)}
	}
	for what, c := range map[string]struct {
		change func(*in)
		kind   vpc.ErrorKind
	}{
		"one address":          {func(i *in) { i.Addresses = i.Addresses[:1] }, vpc.Combination},
		"seven addresses":      {func(i *in) { i.Addresses = slices.Repeat(i.Addresses[1:], 7) }, vpc.Limit},
		"another's subnet":     {func(i *in) { i.Addresses[1].Subnet = w.provider }, vpc.NotFound},
		"unknown group":        {func(i *in) { i.Groups = []vpc.GroupID{"sg-00000000000000000"} }, vpc.NotFound},
		"no group":             {func(i *in) { i.Groups = nil }, vpc.Missing},
		"address twice":        {func(i *in) { i.Addresses = []control.ResolverAddressInput{at(w.a, "10.0.1.9"), at(w.a, "10.0.1.9")} }, vpc.AddressInUse},
		"address elsewhere":    {func(i *in) { i.Addresses[1] = at(w.b, "10.0.1.9") }, vpc.AddressMismatch},
		"address reserved":     {func(i *in) { i.Addresses[1] = at(w.b, "10.0.2.2") }, vpc.AddressMismatch},
		"no IPv6 block":        {func(i *in) { i.DualStack = true }, vpc.Invalid},
		"IPv6 address of IPv4": {func(i *in) { i.Addresses[1].Addr6 = netip.MustParseAddr("2001:db8::9") }, vpc.Combination},
		"bad name":             {func(i *in) { i.Name = "a/b" }, vpc.Invalid},
		"digits alone":         {func(i *in) { i.Name = "123" }, vpc.Invalid},
		"long name":            {func(i *in) { i.Name = strings.Repeat("a", 65) }, vpc.Invalid},
		"no request":           {func(i *in) { i.Request = "" }, vpc.Invalid},
		"reserved tag":         {func(i *in) { i.Tags = vpc.Tags{"aws:x": ""} }, vpc.Invalid},
	} {
		i := w.endpointInput("bad", true)
		c.change(&i)
		_, err := w.CreateResolverEndpoint(w.ctx, controltest.Consumer, i)
		w.wants(what, err, c.kind)
		if w.interfaces() != 0 {
			t.Fatalf("%s: an interface is left", what)
		}
	}
	if made := atOnce(t, 8, func(i int) error {
		_, err := w.CreateResolverEndpoint(w.ctx, controltest.Consumer, func() in {
			i := w.endpointInput(strings.Repeat("q", i+1), true)
			i.Addresses[0].Addr = netip.Addr{}
			return i
		}())
		return err
	}, vpc.Limit); made != control.DefaultQuotas.ResolverEndpoints {
		t.Errorf("%d endpoints were made at once, the quota is %d", made, control.DefaultQuotas.ResolverEndpoints)
	}
}

func TestAResolverRuleIsInForceOncePerDomainAndVPC(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	out := w.resolverEndpoint("out", false)
	in := control.CreateResolverRuleInput{Request: "r", Forward: true, Domain: "Corp.Example.", Endpoint: out.ID, Targets: to("192.0.2.53:53")}
	r, err := w.CreateResolverRule(w.ctx, me, in)
	if err != nil || r.Domain != "corp.example" || !r.Forwards() {
		t.Fatalf("made %+v, %v", r, err)
	}
	if again, err := w.CreateResolverRule(w.ctx, me, in); err != nil || again.ID != r.ID {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	other := in
	other.Domain = "other.example"
	_, err = w.CreateResolverRule(w.ctx, me, other)
	w.wants("the same request for another", err, vpc.TokenMismatch)
	twin, err := w.CreateResolverRule(w.ctx, me, control.CreateResolverRuleInput{Request: "twin", Domain: "corp.example"})
	if err != nil || twin.Forwards() {
		t.Fatalf("made %+v, %v", twin, err)
	}
	a, err := w.AssociateResolverRule(w.ctx, me, r.ID, w.vpc, "")
	if err != nil {
		t.Fatal(err)
	}
	for what, id := range map[string]vpc.ResolverRuleID{"the same rule again": r.ID, "another rule for the domain": twin.ID} {
		_, err = w.AssociateResolverRule(w.ctx, me, id, w.vpc, "")
		w.wants(what, err, vpc.Conflict)
	}
	_, err = w.DeleteResolverRule(w.ctx, me, r.ID)
	w.wants("delete a rule in force", err, vpc.InUse)
	_, err = w.DeleteResolverEndpoint(w.ctx, me, out.ID)
	w.wants("delete an endpoint with rules", err, vpc.Conflict)
	_, err = w.AssociateResolverRule(w.ctx, controltest.Provider, r.ID, w.vpc, "")
	w.wants("another account's rule", err, vpc.NotFound)
	_, err = w.AssociateResolverRule(w.ctx, me, vpc.InternetResolverRule, w.vpc, "")
	w.wants("the auto-defined rule", err, vpc.NotPermitted)
	w.wants("delete the VPC", w.DeleteVPC(w.ctx, me, w.vpc), vpc.InUse)

	gone, err := w.DisassociateResolverRule(w.ctx, me, r.ID, w.vpc)
	if err != nil || gone.ID != a.ID {
		t.Fatalf("ended %+v, %v", gone, err)
	}
	_, err = w.DisassociateResolverRule(w.ctx, me, r.ID, w.vpc)
	w.wants("end it again", err, vpc.NotFound)
	if _, err := w.AssociateResolverRule(w.ctx, me, twin.ID, w.vpc, ""); err != nil {
		t.Error(err)
	}
	if _, err := w.DeleteResolverRule(w.ctx, me, r.ID); err != nil {
		t.Error(err)
	}
	if _, err := w.DeleteResolverEndpoint(w.ctx, me, out.ID); err != nil {
		t.Error(err)
	}
}

func TestResolverRulesThatCannotBeTrueAreRefused(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	out, inbound := w.resolverEndpoint("out", false), func() *vpc.ResolverEndpoint {
		in := w.endpointInput("in", true)
		in.Addresses[0].Addr = netip.Addr{}
		e, err := w.CreateResolverEndpoint(w.ctx, me, in)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}()
	peer := peerVPC(t, w.Control, controltest.Provider, "10.9.0.0/16")
	pcx, err := w.CreatePeering(w.ctx, me, control.CreatePeeringInput{VPC: w.vpc, PeerVPC: peer, PeerOwner: controltest.Provider.Account})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AcceptPeering(w.ctx, controltest.Provider, pcx); err != nil {
		t.Fatal(err)
	}
	type in = control.CreateResolverRuleInput
	for what, c := range map[string]struct {
		change func(*in)
		kind   vpc.ErrorKind
	}{
		"no domain":                  {func(i *in) { i.Domain = "" }, vpc.Missing},
		"bad domain":                 {func(i *in) { i.Domain = ".." }, vpc.Invalid},
		"no endpoint":                {func(i *in) { i.Endpoint = "" }, vpc.Missing},
		"unknown endpoint":           {func(i *in) { i.Endpoint = "rslvr-out-00000000000000000" }, vpc.NotFound},
		"inbound endpoint":           {func(i *in) { i.Endpoint = inbound.ID }, vpc.Combination},
		"no target":                  {func(i *in) { i.Targets = nil }, vpc.Missing},
		"seven targets":              {func(i *in) { i.Targets = slices.Repeat(i.Targets, 7) }, vpc.Limit},
		"target twice":               {func(i *in) { i.Targets = slices.Repeat(i.Targets, 2) }, vpc.Invalid},
		"the host itself":            {func(i *in) { i.Targets = to("127.0.0.1:53") }, vpc.Invalid},
		"the host's metadata":        {func(i *in) { i.Targets = to("169.254.169.254:80") }, vpc.Invalid},
		"no port":                    {func(i *in) { i.Targets = to("192.0.2.1:0") }, vpc.Invalid},
		"IPv6 from an IPv4 endpoint": {func(i *in) { i.Targets = to("[2001:db8::53]:53") }, vpc.Combination},
		"an address of the VPC":      {func(i *in) { i.Targets = to("10.0.1.9:53") }, vpc.Combination},
		"an address of a peer":       {func(i *in) { i.Targets = to("10.9.1.9:53") }, vpc.Combination},
		"a system rule with targets": {func(i *in) { i.Forward = false }, vpc.Combination},
	} {
		i := in{Request: "bad", Forward: true, Domain: "corp.example", Endpoint: out.ID, Targets: to("192.0.2.53:53")}
		c.change(&i)
		_, err := w.CreateResolverRule(w.ctx, me, i)
		w.wants(what, err, c.kind)
	}
	for range vpc.All[vpc.ResolverRule](w.View()) {
		t.Error("a rule is left")
	}
	// What a rule becomes has to be as true as what it was.
	r, err := w.CreateResolverRule(w.ctx, me, in{Request: "r", Forward: true, Domain: "corp.example", Endpoint: out.ID, Targets: to("10.30.0.1:53")})
	if err != nil {
		t.Fatal(err)
	}
	far := peerVPC(t, w.Control, me, "10.30.0.0/16")
	_, err = w.AssociateResolverRule(w.ctx, me, r.ID, far, "")
	w.wants("a target within the VPC to be", err, vpc.Combination)
	if _, err := w.UpdateResolverRule(w.ctx, me, r.ID, control.UpdateResolverRuleInput{Targets: to("192.0.2.1:5353")}); err != nil {
		t.Fatal(err)
	}
	if _, err = w.AssociateResolverRule(w.ctx, me, r.ID, far, ""); err != nil {
		t.Fatal(err)
	}
	_, err = w.UpdateResolverRule(w.ctx, me, r.ID, control.UpdateResolverRuleInput{Targets: to("10.30.0.1:53")})
	w.wants("a new target within the VPC", err, vpc.Combination)
	_, err = w.UpdateResolverRule(w.ctx, me, r.ID, control.UpdateResolverRuleInput{Endpoint: inbound.ID})
	w.wants("an inbound endpoint from now on", err, vpc.Combination)
	if now, _ := vpc.Get[vpc.ResolverRule](w.View(), r.ID); !slices.Equal(now.Targets, to("192.0.2.1:5353")) || now.Endpoint != out.ID {
		t.Errorf("the rule is %+v", now)
	}
}

func TestAResolverEndpointBecomesDualStackAndBack(t *testing.T) {
	w := newWorkloads(t)
	me := controltest.Consumer
	e := w.resolverEndpoint("out", false)
	yes, no := true, false
	_, err := w.UpdateResolverEndpoint(w.ctx, me, e.ID, control.UpdateResolverEndpointInput{DualStack: &yes})
	w.wants("without a block", err, vpc.Invalid)
	if now, _ := vpc.Get[vpc.ResolverEndpoint](w.View(), e.ID); now.DualStack {
		t.Fatal("it changed nevertheless")
	}
	block, err := w.AssociateIPv6(w.ctx, me, w.vpc)
	if err != nil {
		t.Fatal(err)
	}
	first := block.CIDR.Addr().As16()
	for i, s := range []vpc.SubnetID{w.a, w.b} {
		first[7] = byte(i)
		if _, err := w.AssociateSubnetIPv6(w.ctx, me, s, netip.PrefixFrom(netip.AddrFrom16(first), vpc.SubnetBits6)); err != nil {
			t.Fatal(err)
		}
	}
	first[7], first[15] = 0, 0x53
	chosen := netip.AddrFrom16(first)
	_, err = w.UpdateResolverEndpoint(w.ctx, me, e.ID, control.UpdateResolverEndpointInput{DualStack: &yes, Addr6: map[string]netip.Addr{"rni-00000000000000000": chosen}})
	w.wants("an address it does not have", err, vpc.NotFound)
	e, err = w.UpdateResolverEndpoint(w.ctx, me, e.ID, control.UpdateResolverEndpointInput{DualStack: &yes, Addr6: map[string]netip.Addr{e.Addresses[0].ID: chosen}})
	if err != nil || e.Addresses[0].Addr6 != chosen || !e.Addresses[1].Addr6.IsValid() {
		t.Fatalf("became %+v, %v", e, err)
	}
	r, err := w.CreateResolverRule(w.ctx, me, control.CreateResolverRuleInput{Request: "r", Forward: true, Domain: "a", Endpoint: e.ID, Targets: to("[2001:db8::53]:53")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.UpdateResolverEndpoint(w.ctx, me, e.ID, control.UpdateResolverEndpointInput{DualStack: &no})
	w.wants("while a rule needs IPv6", err, vpc.Combination)
	if _, err := w.DeleteResolverRule(w.ctx, me, r.ID); err != nil {
		t.Fatal(err)
	}
	e, err = w.UpdateResolverEndpoint(w.ctx, me, e.ID, control.UpdateResolverEndpointInput{DualStack: &no})
	if err != nil || e.DualStack || e.Addresses[0].Addr6.IsValid() {
		t.Errorf("became %+v, %v", e, err)
	}
}
