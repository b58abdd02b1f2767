// SPDX-License-Identifier: Apache-2.0

package ec2_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// peers are two VPCs of two accounts and a connection asked for by the consumer.
type peers struct {
	*netAPI
	mine, theirs, id string
}

func newPeers(t testing.TB) *peers {
	t.Helper()
	a := newNetAPI(t)
	p := &peers{netAPI: a, mine: a.vpc("10.0.0.0/16")}
	p.theirs = a.as(controltest.Provider, "CreateVpc", "CidrBlock", "10.1.0.0/16").one("vpc/vpcId")
	p.id = p.ask().one("vpcPeeringConnection/vpcPeeringConnectionId")
	return p
}

func (p *peers) ask(more ...string) xmlTree {
	p.t.Helper()
	return p.do("CreateVpcPeeringConnection", append([]string{"VpcId", p.mine, "PeerVpcId", p.theirs, "PeerOwnerId", "222222222222"}, more...)...)
}

func (p *peers) accept() {
	p.t.Helper()
	p.as(controltest.Provider, "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
}

// state is the connection's as an account sees it, "" if it does not.
func (p *peers) state(caller control.Caller) string {
	p.t.Helper()
	tree := p.as(caller, "DescribeVpcPeeringConnections", "Filter.1.Name", "vpc-peering-connection-id", "Filter.1.Value.1", p.id)
	return tree.one("vpcPeeringConnectionSet/item/status/code")
}

func TestPeeringIsAskedForAndAccepted(t *testing.T) {
	p := newPeers(t)
	const item = "vpcPeeringConnectionSet/item/"
	describe := func(caller control.Caller) xmlTree {
		return p.as(caller, "DescribeVpcPeeringConnections", "VpcPeeringConnectionId.1", p.id)
	}
	for _, caller := range []control.Caller{controltest.Consumer, controltest.Provider} {
		d := describe(caller)
		equal(t, "the state", d.one(item+"status/code"), "pending-acceptance")
		equal(t, "the message", d.one(item+"status/message"), "Pending Acceptance by 222222222222")
		equal(t, "the end of the request", d.one(item+"expirationTime"), "2026-01-09T03:04:05.000Z")
		equal(t, "the requester", d.one(item+"requesterVpcInfo/ownerId")+d.one(item+"requesterVpcInfo/vpcId")+d.one(item+"requesterVpcInfo/cidrBlock"), "111111111111"+p.mine+"10.0.0.0/16")
		equal(t, "the region", d.one(item+"accepterVpcInfo/region"), "us-east-1")
	}
	equal(t, "the accepter's block before it accepted", describe(controltest.Consumer).one(item+"accepterVpcInfo/cidrBlock"), "")
	equal(t, "its own block", describe(controltest.Provider).one(item+"accepterVpcInfo/cidrBlock"), "10.1.0.0/16")

	for _, action := range []string{"AcceptVpcPeeringConnection", "RejectVpcPeeringConnection", "DeleteVpcPeeringConnection"} {
		p.refusedAs(controltest.Stranger, "InvalidVpcPeeringConnectionID.NotFound", action, "VpcPeeringConnectionId", p.id)
		p.refused("InvalidVpcPeeringConnectionId.Malformed", action, "VpcPeeringConnectionId", "pcx-x")
	}
	equal(t, "what a stranger sees", p.state(controltest.Stranger), "")
	p.refused("OperationNotPermitted", "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	p.refused("OperationNotPermitted", "RejectVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	p.refusedAs(controltest.Provider, "InvalidStateTransition", "DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	p.refused("VpcPeeringConnectionAlreadyExists", "CreateVpcPeeringConnection", "VpcId", p.mine, "PeerVpcId", p.theirs, "PeerOwnerId", "222222222222")
	p.refusedAs(controltest.Provider, "VpcPeeringConnectionAlreadyExists", "CreateVpcPeeringConnection", "VpcId", p.theirs, "PeerVpcId", p.mine, "PeerOwnerId", "111111111111")

	got := p.as(controltest.Provider, "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	equal(t, "the state after acceptance", got.one("vpcPeeringConnection/status/code"), "active")
	d := describe(controltest.Consumer)
	equal(t, "the accepter's block", d.one(item+"accepterVpcInfo/cidrBlockSet/item/cidrBlock"), "10.1.0.0/16")
	equal(t, "the end of the request", d.one(item+"expirationTime"), "")
	equal(t, "the options", d.one(item+"requesterVpcInfo/peeringOptions/allowDnsResolutionFromRemoteVpc"), "false")
	for _, action := range []string{"AcceptVpcPeeringConnection", "RejectVpcPeeringConnection"} {
		if m := p.refusedAs(controltest.Provider, "InvalidStateTransition", action, "VpcPeeringConnectionId", p.id); !strings.Contains(m, p.id) || !strings.Contains(m, "active") {
			t.Errorf("%s: the text %q names neither the connection nor its state", action, m)
		}
	}

	// Neither VPC goes while they are peered, and none grows over the other.
	p.refused("DependencyViolation", "DeleteVpc", "VpcId", p.mine)
	p.refusedAs(controltest.Provider, "DependencyViolation", "DeleteVpc", "VpcId", p.theirs)
	p.refused("InvalidVpc.Conflict", "AssociateVpcCidrBlock", "VpcId", p.mine, "CidrBlock", "10.1.128.0/20")
	p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	equal(t, "the state after deletion", p.state(controltest.Provider), "deleted")
	p.do("AssociateVpcCidrBlock", "VpcId", p.mine, "CidrBlock", "10.1.128.0/20")
	p.do("DeleteVpc", "VpcId", p.mine)
	p.as(controltest.Provider, "DeleteVpc", "VpcId", p.theirs)
}

func TestPeeringThatCannotBe(t *testing.T) {
	p := newPeers(t)
	same := p.as(controltest.Provider, "CreateVpc", "CidrBlock", "10.0.0.0/16").one("vpc/vpcId")
	for what, peer := range map[string][]string{
		"another account's overlapping VPC": {"PeerVpcId", same, "PeerOwnerId", "222222222222"},
		"no VPC of another account":         {"PeerVpcId", "vpc-00000000000000001", "PeerOwnerId", "222222222222"},
		"a VPC of a third account":          {"PeerVpcId", p.theirs, "PeerOwnerId", "333333333333"},
	} {
		// What is wrong cannot be told apart, and the other side sees nothing.
		got := p.do("CreateVpcPeeringConnection", append([]string{"VpcId", p.vpc("10.0.0.0/16")}, peer...)...)
		equal(t, what+": the state", got.one("vpcPeeringConnection/status/code"), "failed")
		equal(t, what+": the message", got.one("vpcPeeringConnection/status/message"), "Failed due to incorrect VPC-ID, Account-ID, or overlapping CIDR range")
		equal(t, what+": the blocks", got.one("vpcPeeringConnection/accepterVpcInfo/cidrBlock"), "")
		id := got.one("vpcPeeringConnection/vpcPeeringConnectionId")
		p.refusedAs(controltest.Provider, "InvalidVpcPeeringConnectionID.NotFound", "DescribeVpcPeeringConnections", "VpcPeeringConnectionId.1", id)
		p.refused("InvalidStateTransition", "DeleteVpcPeeringConnection", "VpcPeeringConnectionId", id)
	}
	create := func(code string, pairs ...string) string {
		t.Helper()
		return p.refused(code, "CreateVpcPeeringConnection", pairs...)
	}
	create("InvalidVpcID.NotFound", "VpcId", p.mine, "PeerVpcId", p.theirs)
	create("InvalidVpcID.NotFound", "VpcId", p.theirs, "PeerVpcId", p.mine)
	create("InvalidVpcID.Malformed", "VpcId", p.mine, "PeerVpcId", "vpc-x")
	create("InvalidParameterValue", "VpcId", p.mine, "PeerVpcId", p.mine)
	create("InvalidParameterValue", "VpcId", p.mine, "PeerVpcId", p.theirs, "PeerOwnerId", "me")
	create("MissingParameter", "VpcId", p.mine)
	if m := create("UnsupportedOperation", "VpcId", p.mine, "PeerVpcId", p.theirs, "PeerRegion", "eu-west-1"); !strings.Contains(m, "PeerRegion") || !strings.Contains(m, "eu-west-1") {
		t.Errorf("the refusal %q does not name the region", m)
	}
	p.do("CreateVpcPeeringConnection", "VpcId", p.vpc("10.7.0.0/16"), "PeerVpcId", p.theirs, "PeerOwnerId", "222222222222", "PeerRegion", "us-east-1")

	// VPCs that came to overlap after the request fail at acceptance.
	p.as(controltest.Provider, "AssociateVpcCidrBlock", "VpcId", p.theirs, "CidrBlock", "10.0.128.0/20")
	got := p.as(controltest.Provider, "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	equal(t, "the state", got.one("vpcPeeringConnection/status/code"), "failed")
	equal(t, "the requester's view", p.state(controltest.Consumer), "failed")
}

func TestARequestCannotHoldAnothersVPC(t *testing.T) {
	p := newPeers(t)
	p.refused("DependencyViolation", "DeleteVpc", "VpcId", p.mine)
	p.as(controltest.Provider, "DeleteVpc", "VpcId", p.theirs)
	p.refusedAs(controltest.Provider, "InvalidVpcID.NotFound", "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
}

// Who sees what has ended, and how long, by the clock.
func TestEndedPeeringsAreShownForAWhile(t *testing.T) {
	for what, c := range map[string]struct {
		end              func(p *peers)
		state            string
		consumer, provid time.Duration // how long each sees it
	}{
		"rejected": {func(p *peers) {
			p.as(controltest.Provider, "RejectVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
		}, "rejected", 48 * time.Hour, 2 * time.Hour},
		"withdrawn": {func(p *peers) { p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id) }, "deleted", 2 * time.Hour, 48 * time.Hour},
		"deleted by the accepter": {func(p *peers) {
			p.accept()
			p.as(controltest.Provider, "DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
		}, "deleted", 48 * time.Hour, 2 * time.Hour},
		"expired": {func(p *peers) {
			p.clock.Advance(7*24*time.Hour - time.Second)
			p.vpc("192.168.0.0/24") // the life cycle looks again
			equal(t, "a second early", p.state(controltest.Consumer), "pending-acceptance")
			p.clock.Advance(time.Second)
			// Only then is the life cycle done, and the revision stands still.
			p.await("expired")
			p.refusedAs(controltest.Provider, "InvalidStateTransition", "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
		}, "expired", 48 * time.Hour, 48 * time.Hour},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPeers(t)
			if what == "expired" {
				p.live()
			}
			c.end(p)
			begin := p.clock.Now()
			for _, who := range []struct {
				caller control.Caller
				sees   time.Duration
			}{{controltest.Consumer, c.consumer}, {controltest.Provider, c.provid}} {
				x, _ := vpc.Get[vpc.Peering](p.c.View(), p.id)
				if !x.VisibleTo(who.caller.Account, begin.Add(who.sees-time.Second)) || x.VisibleTo(who.caller.Account, begin.Add(who.sees)) {
					t.Errorf("%s does not see it for exactly %s", who.caller.Name, who.sees)
				}
				equal(t, "the state", p.state(who.caller), c.state)
			}
			if what != "expired" {
				p.live()
			}
			p.clock.Advance(48 * time.Hour)
			equal(t, "what is left to see", p.state(controltest.Consumer)+p.state(controltest.Provider), "")
			p.as(controltest.Stranger, "CreateVpc", "CidrBlock", "10.9.0.0/16") // wakes the life cycle
			p.await("")
		})
	}
}

// live runs the peering life cycle until the test ends.
func (p *peers) live() {
	run, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.c.RunPeeringLifecycle(run) })
	p.t.Cleanup(func() { cancel(); wg.Wait() })
}

// await waits until the store has the connection in a state, "" for gone.
func (p *peers) await(state vpc.PeeringState) {
	p.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		snap, changed := p.c.Store.Changed()
		o, ok := vpc.Get[vpc.Peering](snap, p.id)
		if ok && o.State == state || !ok && state == "" {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.t.Fatalf("the connection did not come to %q", state)
		}
	}
}

func TestPeeringOptionsAndTagsAreEachSidesOwn(t *testing.T) {
	p := newPeers(t)
	opt := func(side string) []string {
		return []string{"VpcPeeringConnectionId", p.id, side + "PeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc", "true"}
	}
	p.refused("OperationNotPermitted", "ModifyVpcPeeringConnectionOptions", opt("Requester")...)
	p.accept()
	p.refused("OperationNotPermitted", "ModifyVpcPeeringConnectionOptions", opt("Accepter")...)
	p.refusedAs(controltest.Stranger, "InvalidVpcPeeringConnectionID.NotFound", "ModifyVpcPeeringConnectionOptions", opt("Accepter")...)
	p.refused("MissingParameter", "ModifyVpcPeeringConnectionOptions", "VpcPeeringConnectionId", p.id)
	p.refused("UnsupportedOperation", "ModifyVpcPeeringConnectionOptions", "VpcPeeringConnectionId", p.id,
		"RequesterPeeringConnectionOptions.AllowEgressFromLocalVpcToRemoteClassicLink", "true")
	got := p.do("ModifyVpcPeeringConnectionOptions", append(opt("Requester"), "RequesterPeeringConnectionOptions.AllowEgressFromLocalVpcToRemoteClassicLink", "false")...)
	equal(t, "the answer", got.one("requesterPeeringConnectionOptions/allowDnsResolutionFromRemoteVpc"), "true")
	equal(t, "the other side in the answer", len(got.all("accepterPeeringConnectionOptions")), 0)
	d := p.as(controltest.Provider, "DescribeVpcPeeringConnections")
	equal(t, "the option", d.one("vpcPeeringConnectionSet/item/requesterVpcInfo/peeringOptions/allowDnsResolutionFromRemoteVpc"), "true")
	equal(t, "the other option", d.one("vpcPeeringConnectionSet/item/accepterVpcInfo/peeringOptions/allowDnsResolutionFromRemoteVpc"), "false")

	for caller, value := range map[*control.Caller]string{&controltest.Consumer: "ours", &controltest.Provider: "theirs"} {
		p.as(*caller, "CreateTags", "ResourceId.1", p.id, "Tag.1.Key", "whose", "Tag.1.Value", value)
	}
	for caller, value := range map[*control.Caller]string{&controltest.Consumer: "ours", &controltest.Provider: "theirs"} {
		d := p.as(*caller, "DescribeVpcPeeringConnections", "Filter.1.Name", "tag:whose", "Filter.1.Value.1", value)
		equal(t, "the tag", d.one("vpcPeeringConnectionSet/item/tagSet/item/value"), value)
		d = p.as(*caller, "DescribeTags", "Filter.1.Name", "resource-type", "Filter.1.Value.1", "vpc-peering-connection")
		equal(t, "the tag in DescribeTags", d.one("tagSet/item/value"), value)
	}
	_, tree := p.serve(controltest.Stranger, "CreateTags", []string{"ResourceId.1", p.id, "Tag.1.Key", "k", "Tag.1.Value", "v"})
	equal(t, "a stranger's tag", tree.one("Errors/Error/Code"), "InvalidVpcPeeringConnectionID.NotFound")
}

func TestPeeringFilters(t *testing.T) {
	p := newPeers(t)
	p.ask2("10.2.0.0/16", "10.3.0.0/16")
	for name, value := range map[string]string{
		"accepter-vpc-info.owner-id": "222222222222", "accepter-vpc-info.vpc-id": p.theirs,
		"requester-vpc-info.cidr-block": "10.0.0.0/16", "requester-vpc-info.vpc-id": p.mine, "vpc-peering-connection-id": p.id,
		"status-message": "Pending*222222222222",
	} {
		d := p.do("DescribeVpcPeeringConnections", "Filter.1.Name", name, "Filter.1.Value.1", value, "Filter.2.Name", "status-code", "Filter.2.Value.1", "pending-acceptance")
		equalLists(t, name, d.all("vpcPeeringConnectionSet/item/vpcPeeringConnectionId"), []string{p.id})
		d = p.do("DescribeVpcPeeringConnections", "Filter.1.Name", name, "Filter.1.Value.1", value+"x")
		equalLists(t, name+" with another value", d.all("vpcPeeringConnectionSet/item/vpcPeeringConnectionId"), nil)
	}
	equal(t, "by expiration", len(p.do("DescribeVpcPeeringConnections", "Filter.1.Name", "expiration-time", "Filter.1.Value.1", "2026-01-09T03:04:05.000Z").all("vpcPeeringConnectionSet/item")), 2)
	equal(t, "by requester", len(p.do("DescribeVpcPeeringConnections", "Filter.1.Name", "requester-vpc-info.owner-id", "Filter.1.Value.1", "111111111111").all("vpcPeeringConnectionSet/item")), 2)
	// A filter does not tell what the answer does not.
	equal(t, "by the unaccepted block", len(p.do("DescribeVpcPeeringConnections", "Filter.1.Name", "accepter-vpc-info.cidr-block", "Filter.1.Value.1", "10.1.*").all("vpcPeeringConnectionSet/item")), 0)
	p.accept()
	equal(t, "by the accepted block", len(p.do("DescribeVpcPeeringConnections", "Filter.1.Name", "accepter-vpc-info.cidr-block", "Filter.1.Value.1", "10.1.*").all("vpcPeeringConnectionSet/item")), 1)
	p.refused("InvalidParameterValue", "DescribeVpcPeeringConnections", "Filter.1.Name", "nope", "Filter.1.Value.1", "x")
	first := p.do("DescribeVpcPeeringConnections", "MaxResults", "1")
	second := p.do("DescribeVpcPeeringConnections", "MaxResults", "1", "NextToken", first.one("nextToken"))
	equal(t, "the pages", len(first.all("vpcPeeringConnectionSet/item"))+len(second.all("vpcPeeringConnectionSet/item")), 2)
}

// ask2 makes a connection, not accepted, between two VPCs of the consumer and answers its id.
func (p *peers) ask2(a, b string) string {
	p.t.Helper()
	return p.do("CreateVpcPeeringConnection", "VpcId", p.vpc(a), "PeerVpcId", p.vpc(b)).one("vpcPeeringConnection/vpcPeeringConnectionId")
}

func TestRoutesOverPeeringFollowItsState(t *testing.T) {
	p := newPeers(t)
	table := p.do("DescribeRouteTables", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", p.mine).one("routeTableSet/item/routeTableId")
	route := []string{"RouteTableId", table, "DestinationCidrBlock", "10.1.0.0/16"}
	with := func(id string) []string { return append(route[:len(route):len(route)], "VpcPeeringConnectionId", id) }
	state := func() string {
		t.Helper()
		d := p.do("DescribeRouteTables", "Filter.1.Name", "route.vpc-peering-connection-id", "Filter.1.Value.1", p.id)
		equal(t, "the target", d.one("routeTableSet/item/routeSet/item/vpcPeeringConnectionId"), p.id)
		return d.all("routeTableSet/item/routeSet/item/state")[1]
	}
	p.do("CreateRoute", with(p.id)...)
	equal(t, "the state before acceptance", state(), "blackhole")
	p.accept()
	equal(t, "the state after acceptance", state(), "active")
	p.refused("InvalidVpcPeeringConnectionID.NotFound", "ReplaceRoute", with("pcx-00000000000000001")...)
	p.refused("InvalidVpcPeeringConnectionId.Malformed", "ReplaceRoute", with("pcx-1")...)
	other := p.ask2("10.2.0.0/16", "10.3.0.0/16")
	if m := p.refused("InvalidParameterValue", "ReplaceRoute", with(other)...); !strings.Contains(m, "different networks") {
		t.Errorf("a connection of other VPCs: %s", m)
	}
	p.refused("InvalidParameterCombination", "ReplaceRoute", append(with(p.id), "InstanceId", "i-00000000000000001")...)
	p.do("ReplaceRoute", with(p.id)...)
	p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	equal(t, "the state after deletion", state(), "blackhole")
	p.refused("InvalidVpcPeeringConnectionID.NotFound", "ReplaceRoute", with(p.id)...)
	p.do("DeleteRoute", route...)
}

func TestRulesNameGroupsOverPeering(t *testing.T) {
	p := newPeers(t)
	mine := p.group(p.mine, "mine")
	theirs := p.as(controltest.Provider, "CreateSecurityGroup", "VpcId", p.theirs, "GroupName", "theirs", "GroupDescription", "x").one("groupId")
	peer := []string{"Groups.1.GroupId", theirs, "Groups.1.UserId", "222222222222"}
	rule := perm(mine, "tcp", "443", "443", peer...)
	p.refused("InvalidGroup.NotFound", "AuthorizeSecurityGroupIngress", rule...) // not accepted yet
	p.accept()
	p.refused("InvalidGroup.NotFound", "AuthorizeSecurityGroupIngress", perm(mine, "tcp", "443", "443", peer[:2]...)...) // no owner
	p.refused("InvalidGroup.NotFound", "AuthorizeSecurityGroupIngress", append(rule, "IpPermissions.1.Groups.1.VpcId", p.mine)...)
	p.refused("InvalidGroup.NotFound", "AuthorizeSecurityGroupIngress", append(rule, "IpPermissions.1.Groups.1.VpcPeeringConnectionId", "pcx-00000000000000001")...)
	got := p.do("AuthorizeSecurityGroupIngress", append(rule, "IpPermissions.1.Groups.1.VpcId", p.theirs, "IpPermissions.1.Groups.1.VpcPeeringConnectionId", p.id)...)
	const info = "securityGroupRuleSet/item/referencedGroupInfo/"
	equal(t, "the rule", got.one(info+"groupId")+got.one(info+"userId")+got.one(info+"vpcId")+got.one(info+"vpcPeeringConnectionId")+got.one(info+"peeringStatus"),
		theirs+"222222222222"+p.theirs+p.id+"active")
	const pair = "securityGroupInfo/item/ipPermissions/item/groups/item/"
	view := func() string {
		d := p.do("DescribeSecurityGroups", "GroupId.1", mine)
		return d.one(pair+"groupId") + d.one(pair+"userId") + d.one(pair+"vpcId") + d.one(pair+"vpcPeeringConnectionId") + d.one(pair+"peeringStatus")
	}
	equal(t, "the permission", view(), theirs+"222222222222"+p.theirs+p.id+"active")
	p.do("ModifySecurityGroupRules", "GroupId", mine, "SecurityGroupRule.1.SecurityGroupRuleId", got.one("securityGroupRuleSet/item/securityGroupRuleId"),
		"SecurityGroupRule.1.SecurityGroupRule.IpProtocol", "tcp", "SecurityGroupRule.1.SecurityGroupRule.FromPort", "443",
		"SecurityGroupRule.1.SecurityGroupRule.ToPort", "443", "SecurityGroupRule.1.SecurityGroupRule.ReferencedGroupId", theirs, "SecurityGroupRule.1.SecurityGroupRule.Description", "peer")

	// The owner of the group sees who refers to it, and only the owner.
	refs := p.as(controltest.Provider, "DescribeSecurityGroupReferences", "GroupId.1", theirs)
	equal(t, "the reference", refs.one("securityGroupReferenceSet/item/groupId")+refs.one("securityGroupReferenceSet/item/referencingVpcId")+refs.one("securityGroupReferenceSet/item/vpcPeeringConnectionId"),
		theirs+p.mine+p.id)
	p.refused("InvalidGroup.NotFound", "DescribeSecurityGroupReferences", "GroupId.1", theirs)
	p.refused("MissingParameter", "DescribeSecurityGroupReferences")
	stale := func() xmlTree { return p.do("DescribeStaleSecurityGroups", "VpcId", p.mine) }
	equal(t, "stale rules while peered", len(stale().all("staleSecurityGroupSet/item")), 0)
	p.refused("InvalidVpcID.NotFound", "DescribeStaleSecurityGroups", "VpcId", p.theirs)

	// A rule is stale without the connection, though the group is there ...
	p.restoring(func() {
		p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
		equal(t, "the group that is stale without the connection", stale().one("staleSecurityGroupSet/item/groupId"), mine)
	})

	// ... and without the group: a peer's rule does not keep it from being deleted.
	p.as(controltest.Provider, "DeleteSecurityGroup", "GroupId", theirs)
	s := stale()
	equal(t, "the stale group", s.one("staleSecurityGroupSet/item/groupId"), mine)
	equal(t, "the stale permission", s.one("staleSecurityGroupSet/item/staleIpPermissions/item/groups/item/groupId")+s.one("staleSecurityGroupSet/item/staleIpPermissions/item/fromPort"), theirs+"443")
	p.do("DeleteVpcPeeringConnection", "VpcPeeringConnectionId", p.id)
	equal(t, "the permission of a deleted connection", view(), theirs+"222222222222"+p.theirs+p.id+"deleted")
	p.do("RevokeSecurityGroupIngress", rule...)
	equal(t, "stale rules after revocation", len(stale().all("staleSecurityGroupSet/item")), 0)
}

// restoring runs f and then makes the connection as active as it was before.
func (p *peers) restoring(f func()) {
	p.t.Helper()
	before, _ := vpc.Get[vpc.Peering](p.c.View(), p.id)
	f()
	p.put(before)
}

func TestPeeringQuotas(t *testing.T) {
	p := newPeers(t)
	p.c.Quotas.PeeringRequests, p.c.Quotas.PeeringsPerVPC = 1, 1
	peer := p.as(controltest.Provider, "CreateVpc", "CidrBlock", "10.4.0.0/16").one("vpc/vpcId")
	ask := []string{"VpcId", p.mine, "PeerVpcId", peer, "PeerOwnerId", "222222222222"}
	p.refused("OutstandingVpcPeeringConnectionLimitExceeded", "CreateVpcPeeringConnection", ask...)
	p.accept()
	p.refused("ActiveVpcPeeringConnectionPerVpcLimitExceeded", "CreateVpcPeeringConnection", ask...)
	third := p.vpc("10.5.0.0/16")
	id := p.do("CreateVpcPeeringConnection", "VpcId", third, "PeerVpcId", p.theirs, "PeerOwnerId", "222222222222").one("vpcPeeringConnection/vpcPeeringConnectionId")
	p.refusedAs(controltest.Provider, "ActiveVpcPeeringConnectionPerVpcLimitExceeded", "AcceptVpcPeeringConnection", "VpcPeeringConnectionId", id)
}

// The SDK reads what is answered, on both sides.
func TestPeeringThroughTheSDK(t *testing.T) {
	a := newEndpointAPI(t)
	ctx := context.Background()
	consumer, provider := a.client(controltest.Consumer), a.client(controltest.Provider)
	other, err := provider.CreateVpc(ctx, &sdk.CreateVpcInput{CidrBlock: aws.String("10.8.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	made, err := consumer.CreateVpcPeeringConnection(ctx, &sdk.CreateVpcPeeringConnectionInput{
		VpcId: aws.String(a.vpc), PeerVpcId: other.Vpc.VpcId, PeerOwnerId: aws.String("222222222222"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVpcPeeringConnection, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.VpcPeeringConnection.VpcPeeringConnectionId
	equal(t, "the state", made.VpcPeeringConnection.Status.Code, types.VpcPeeringConnectionStateReasonCodePendingAcceptance)
	equal(t, "the tag", aws.ToString(made.VpcPeeringConnection.Tags[0].Value), "v")
	if _, err := provider.AcceptVpcPeeringConnection(ctx, &sdk.AcceptVpcPeeringConnectionInput{VpcPeeringConnectionId: id}); err != nil {
		t.Fatal(err)
	}
	w := sdk.NewVpcPeeringConnectionExistsWaiter(consumer)
	if err := w.Wait(ctx, &sdk.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{*id}}, time.Minute); err != nil {
		t.Error(err)
	}
	opts, err := consumer.ModifyVpcPeeringConnectionOptions(ctx, &sdk.ModifyVpcPeeringConnectionOptionsInput{
		VpcPeeringConnectionId: id, RequesterPeeringConnectionOptions: &types.PeeringConnectionOptionsRequest{AllowDnsResolutionFromRemoteVpc: aws.Bool(true)},
	})
	if err != nil || !aws.ToBool(opts.RequesterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc) {
		t.Errorf("options: %+v %v", opts, err)
	}
	if _, err := provider.DeleteVpcPeeringConnection(ctx, &sdk.DeleteVpcPeeringConnectionInput{VpcPeeringConnectionId: id}); err != nil {
		t.Error(err)
	}
	// Read after the deletion: the waiter polls only while it is not deleted.
	gone := sdk.NewVpcPeeringConnectionDeletedWaiter(consumer)
	if err := gone.Wait(ctx, &sdk.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{*id}}, time.Minute); err != nil {
		t.Error(err)
	}
}
