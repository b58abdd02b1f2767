// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Where the network outside answers, and what its programs send from.
const (
	outside4, outside6 = "198.51.100.7", "2001:db8:77::7"
	// What S3's names stand for; outside it is nobody's S3.
	outsideS3, outsideS36 = "203.0.113.10", "2001:db8:ff53::10"
)

// outside is a namespace that plays the network beyond a host's uplink.
type outside struct {
	i    *install
	name string
}

// newOutside makes the namespace, an installation whose uplink leads there, and
// something that answers. Beside it there is what S3's endpoint leads to.
func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{name: "pe2e-" + strings.ToLower(rand.Text()[:8])}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", o.name)
	t.Cleanup(func() { // after the installation has been reset
		left, err := exec.Command("ip", "-n", o.name, "-br", "link").Output()
		if lines := strings.Split(strings.TrimSpace(string(left)), "\n"); err != nil || len(lines) != 1 {
			t.Errorf("in the network outside there is %q (%v), want what was there before", lines, err)
		}
		exec.Command("ip", "netns", "del", o.name).Run()
	})
	ip("-n", o.name, "link", "set", "lo", "up")
	for _, addr := range []string{outside4 + "/32", outsideS3 + "/32", outside6 + "/128"} {
		ip("-n", o.name, "addr", "add", addr, "dev", "lo")
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "S3's", r.URL.Path) }))
	t.Cleanup(s3.Close)
	conf := fmt.Sprintf("services: [{name: s3, types: [Gateway], protocol: s3, prefixes: [203.0.113.0/24], prefixes6: ['2001:db8:ff53::/48'], "+
		"addresses: [%s, '%s'], publicNames: [s3.us-east-1.amazonaws.com], backend: '%s'}]\n", outsideS3, outsideS36, s3.URL)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o.i = newInstall(t, "--config", file, "--uplink", "/run/netns/"+o.name)
	o.i.listening(o.exec("answer", outside4+":7000", outsideS3+":443", "["+outside6+"]:7000"))
	return o
}

// exec prepares this test program as a peer in the network outside.
func (o *outside) exec(mode string, args ...string) *exec.Cmd {
	o.i.t.Helper()
	self, err := os.Executable()
	if err != nil {
		o.i.t.Fatal(err)
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", o.name, self}, args...)...)
	cmd.Env = environment(peerEnv + "=" + mode)
	return cmd
}

// internetGateway makes one and attaches it.
func (n *network) internetGateway() string {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	id := got(n.acct.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})).or(t).InternetGateway.InternetGatewayId
	got(n.acct.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{VpcId: &n.vpc, InternetGatewayId: id})).or(t)
	return *id
}

// natGateway makes one in a public subnet of its own.
func (n *network) natGateway() (id, public string) {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	subnet := n.addSubnet(200)
	n.route(&ec2.CreateRouteInput{RouteTableId: aws.String(n.table(subnet)), DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: aws.String(n.internetGateway())})
	ip := got(n.acct.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{})).or(t)
	nat := got(n.acct.ec2.CreateNatGateway(ctx, &ec2.CreateNatGatewayInput{SubnetId: &subnet, AllocationId: ip.AllocationId})).or(t).NatGateway
	return *nat.NatGatewayId, *ip.PublicIp
}

func TestAPrivateSubnetGoesOutThroughANATGateway(t *testing.T) {
	needRoot(t)
	o, ctx := newOutside(t), context.Background()
	i := o.i
	n := i.network(i.account("owner"))
	m := n.launch(n.subnet, n.group)
	i.listening(i.exec(m.id, "answer", m.addr+":7000"))
	i.dropped("no-route", i.asks(m, "tcp", outside4+":7000"))

	nat, public := n.natGateway()
	main := n.table("")
	way := func() {
		t.Helper()
		n.route(&ec2.CreateRouteInput{RouteTableId: &main, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: &nat})
	}
	way()
	i.says(public, i.asks(m, "tcp", outside4+":7000"))
	i.says(public, i.asks(m, "udp", outside4+":7000"))
	i.carries(m, outside4+":7000")
	i.says("reply", i.exec(m.id, "ping", outside4))
	i.refused(i.asks(m, "udp", outside4+":9")) // an ICMP error says so
	// The way back is for replies alone.
	i.dropped("no-interface", o.exec("ask", "tcp", public+":7000"))

	// Without its route the next packet stays, of a connection too.
	c := i.talks(m, outside4+":7000", public)
	c.goesOn(true)
	got(n.acct.ec2.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: &main, DestinationCidrBlock: aws.String("0.0.0.0/0")})).or(t)
	c.goesOn(false)
	i.dropped("no-route", i.asks(m, "udp", outside4+":7000"))
	way()
	c.goesOn(true)
	i.says(public, i.asks(m, "tcp", outside4+":7000"))

	// The programs of Postern may end and come again; the packets do not notice.
	i.kill()
	c.goesOn(true)
	i.start()
	c.goesOn(true)
	i.clients(n.acct)

	// And a gateway that is gone is gone at once.
	got(n.acct.ec2.DeleteNatGateway(ctx, &ec2.DeleteNatGatewayInput{NatGatewayId: &nat})).or(t)
	c.goesOn(false)
	i.dropped("blackhole", i.asks(m, "tcp", outside4+":7000"))
}

func TestAnElasticIPIsAnInstancesAddressOutside(t *testing.T) {
	needRoot(t)
	o, ctx := newOutside(t), context.Background()
	i := o.i
	n := i.network(i.account("owner"))
	group := n.addGroup("web")
	m, other := n.launch(n.subnet, group), n.launch(n.subnet, group)
	i.listening(i.exec(m.id, "answer", m.addr+":7000"))
	main := n.table("")
	n.route(&ec2.CreateRouteInput{RouteTableId: &main, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: aws.String(n.internetGateway())})
	i.dropped("no-public-address", i.asks(m, "tcp", outside4+":7000"))

	ip := got(n.acct.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{})).or(t)
	association := got(n.acct.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: ip.AllocationId, InstanceId: &m.id})).or(t).AssociationId
	public := *ip.PublicIp
	i.says(public, i.asks(m, "tcp", outside4+":7000"))
	i.says(public, i.asks(m, "udp", outside4+":7000"))
	i.carries(m, outside4+":7000")
	i.says("reply", i.exec(m.id, "ping", outside4))
	i.refused(i.asks(m, "udp", outside4+":9"))
	i.dropped("no-public-address", i.asks(other, "tcp", outside4+":7000"))
	in := func(from string) *exec.Cmd { return o.exec("ask", "tcp", public+":7000", from) }
	i.dropped("group-ingress", in(outside4))
	n.letIn(group, tcp(7000, outside4+"/32"))
	i.says(outside4, in(outside4))
	i.dropped("group-ingress", in(outsideS3))
	i.dropped("group-ingress", o.exec("ping", public))
	n.letIn(group, types.IpPermission{IpProtocol: aws.String("icmp"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}})
	i.says("reply", o.exec("ping", public))

	got(n.acct.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: association})).or(t)
	i.dropped("no-public-address", i.asks(m, "tcp", outside4+":7000"))
	if out, err := in(outside4).CombinedOutput(); err == nil {
		t.Errorf("the address that nobody has any more answers %s", out)
	}
}

func TestS3IsReachedWithoutANATGateway(t *testing.T) {
	needRoot(t)
	o, ctx := newOutside(t), context.Background()
	i := o.i
	n := i.network(i.account("owner"))
	m := n.launch(n.subnet, n.group)
	i.dropped("no-route", i.asks(m, "tcp", outsideS3+":443"))
	main := n.table("")
	e := got(n.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.s3"), RouteTableIds: []string{main}})).or(t).VpcEndpoint
	// It is S3 that answers there, by its name and with its certificate.
	s3 := func() {
		t.Helper()
		i.says("200 OK\nS3's /bucket/key", i.exec(m.id, "get", "https://s3.us-east-1.amazonaws.com/bucket/key", "tcp4"))
	}
	s3()
	i.dropped("no-route", i.asks(m, "tcp", outside4+":7000"))

	// With a NAT gateway too, each has its own.
	nat, public := n.natGateway()
	n.route(&ec2.CreateRouteInput{RouteTableId: &main, DestinationCidrBlock: aws.String("0.0.0.0/0"), NatGatewayId: &nat})
	s3()
	i.says(public, i.asks(m, "tcp", outside4+":7000"))
	// And without the endpoint it is the NAT gateway that leads to S3's address.
	got(n.acct.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpointId}})).or(t)
	i.says(public, i.asks(m, "tcp", outsideS3+":443"))
}

func TestAnEgressOnlyGatewayLetsNobodyIn(t *testing.T) {
	needRoot(t)
	o, ctx := newOutside(t), context.Background()
	i := o.i
	n := i.networkOf(i.account("owner"), "10.0.0.0/16", true)
	m := n.launch(n.subnet, n.group) // which lets everybody in
	if m.six == "" {
		t.Fatal("the instance has no IPv6 address")
	}
	i.listening(i.exec(m.id, "answer", "["+m.six+"]:7000"))
	there, here := "["+outside6+"]:7000", "["+m.six+"]:7000"
	in := func() *exec.Cmd { return o.exec("ask", "tcp", here, outside6) }
	i.dropped("no-route", i.asks(m, "tcp", there))

	gateway := got(n.acct.ec2.CreateEgressOnlyInternetGateway(ctx, &ec2.CreateEgressOnlyInternetGatewayInput{VpcId: &n.vpc})).or(t).EgressOnlyInternetGateway.EgressOnlyInternetGatewayId
	main := n.table("")
	n.route(&ec2.CreateRouteInput{RouteTableId: &main, DestinationIpv6CidrBlock: aws.String("::/0"), EgressOnlyInternetGatewayId: gateway})
	i.says(m.six, i.asks(m, "tcp", there))
	i.says(m.six, i.asks(m, "udp", there))
	i.carries(m, there)
	i.says("reply", i.exec(m.id, "ping", outside6))
	i.refused(i.asks(m, "udp", "["+outside6+"]:9"))
	i.dropped("no-route", in())
	i.dropped("no-route", o.exec("ping", m.six))

	// What keeps them out is the gateway: through an internet gateway they come in.
	got(n.acct.ec2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: &main, DestinationIpv6CidrBlock: aws.String("::/0"), GatewayId: aws.String(n.internetGateway())})).or(t)
	i.says(m.six, i.asks(m, "tcp", there))
	i.says(outside6, in())
	i.says("reply", o.exec("ping", m.six))
}

func TestS3IsReachedOverIPv6(t *testing.T) {
	needRoot(t)
	o, ctx := newOutside(t), context.Background()
	i := o.i
	n := i.networkOf(i.account("owner"), "10.0.0.0/16", true)
	m := n.launch(n.subnet, n.group)
	const s3 = "s3.us-east-1.amazonaws.com"
	get := func(network string) *exec.Cmd { return i.exec(m.id, "get", "https://"+s3+"/bucket/key", network) }
	i.dropped("no-route", i.asks(m, "tcp", "["+outsideS36+"]:443"))
	got(n.acct.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &n.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(t)
	e := got(n.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &n.vpc, ServiceName: aws.String("com.amazonaws.us-east-1.s3"),
		RouteTableIds: []string{n.table("")}, IpAddressType: types.IpAddressTypeDualstack,
		DnsOptions: &types.DnsOptionsSpecification{DnsRecordIpType: types.DnsRecordIpTypeDualstack}})).or(t).VpcEndpoint
	i.says(outsideS36, i.exec(m.id, "resolve", s3, "fd00:ec2::253"))
	for _, network := range []string{"tcp6", "tcp4"} {
		i.says("200 OK\nS3's /bucket/key", get(network))
	}
	i.dropped("no-route", i.asks(m, "tcp", "["+outside6+"]:7000"))
	// The policy is asked about requests over IPv6 too.
	got(n.acct.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: e.VpcEndpointId,
		PolicyDocument: aws.String(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:VpcSourceIp":"` + m.six + `/128"}}},
			{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`)})).or(t)
	if out, err := get("tcp6").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "403 ") {
		t.Errorf("over IPv6, from an address that the policy denies: %v, %s", err, out)
	}
	i.says("200 OK\nS3's /bucket/key", get("tcp4"))
}
