// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// watcher is a peer that looks at a name all the time.
type watcher struct {
	t     *testing.T
	name  string
	lines chan string
}

func (i *install) watches(instance, name string, port ...string) *watcher {
	i.t.Helper()
	cmd := i.exec(instance, "watch", append([]string{name}, port...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	i.background(cmd)
	w := &watcher{i.t, name, make(chan string, 1000)}
	go func() {
		defer close(w.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			w.lines <- sc.Text()
		}
	}()
	return w
}

// sees waits until the name has these addresses, and answers since when.
func (w *watcher) sees(within time.Duration, addrs ...string) time.Time {
	w.t.Helper()
	slices.Sort(addrs)
	want := strings.Join(addrs, ",")
	if want == "" {
		want = "-"
	}
	deadline := time.After(within)
	last := ""
	for {
		select {
		case line, ok := <-w.lines:
			if !ok {
				w.t.Fatalf("nobody watches %s any more", w.name)
			}
			at, list, _ := strings.Cut(line, " ")
			if at == "violation:" {
				w.t.Errorf("%s resolves and no packet passes: %s", w.name, line)
				continue
			}
			got := strings.Split(list, ",")
			slices.Sort(got)
			if last = strings.Join(got, ","); last == want {
				ns, err := strconv.ParseInt(at, 10, 64)
				if err != nil {
					w.t.Fatal(err)
				}
				return time.Unix(0, ns)
			}
		case <-deadline:
			w.t.Fatalf("%s is %s after %v, want %s", w.name, last, within, want)
		}
	}
}

// balanced is a provider's load balancer with a node in each of two zones.
type balanced struct {
	*network
	subnets  []string // of zones us-east-1a and us-east-1b
	balancer string
	group    string // of targets
	service  string
	name     string // of the service
}

// twoZones makes a load balancer in two zones in front of instances, and a
// service of it.
func (n *network) twoZones(acceptance, crossZone bool, targets func(subnets []string) []string) *balanced {
	t, ctx := n.i.t, context.Background()
	t.Helper()
	b := &balanced{network: n, subnets: []string{n.subnet, n.zoneB()}}
	lb := got(n.acct.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("two"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: b.subnets})).or(t).LoadBalancers[0]
	b.balancer = *lb.LoadBalancerArn
	b.group = *got(n.acct.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String("two"), Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(8080),
		VpcId: &n.vpc, TargetType: elbtypes.TargetTypeEnumInstance, HealthCheckIntervalSeconds: aws.Int32(5), HealthCheckTimeoutSeconds: aws.Int32(2),
		HealthyThresholdCount: aws.Int32(2), UnhealthyThresholdCount: aws.Int32(2)})).or(t).TargetGroups[0].TargetGroupArn
	got(n.acct.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &b.group, Attributes: []elbtypes.TargetGroupAttribute{
		{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String(strconv.FormatBool(crossZone))}}})).or(t)
	got(n.acct.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: &b.balancer, Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(80),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &b.group}}})).or(t)
	var list []elbtypes.TargetDescription
	for _, id := range targets(b.subnets) {
		list = append(list, elbtypes.TargetDescription{Id: &id})
	}
	got(n.acct.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &b.group, Targets: list})).or(t)
	s := got(n.acct.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{b.balancer}, AcceptanceRequired: &acceptance})).or(t).ServiceConfiguration
	b.service, b.name = *s.ServiceId, *s.ServiceName
	got(n.acct.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: s.ServiceId, AddAllowedPrincipals: []string{"*"}})).or(t)
	return b
}

// zoneB makes a subnet in the second zone.
func (n *network) zoneB() string {
	n.i.t.Helper()
	return *got(n.acct.ec2.CreateSubnet(context.Background(), &ec2.CreateSubnetInput{VpcId: &n.vpc, CidrBlock: aws.String("10.0.2.0/24"),
		AvailabilityZone: aws.String("us-east-1b")})).or(n.i.t).Subnet.SubnetId
}

// health is the health of the targets, by instance.
func (b *balanced) health() map[string]elbtypes.TargetHealthStateEnum {
	b.i.t.Helper()
	out := map[string]elbtypes.TargetHealthStateEnum{}
	for _, h := range got(b.acct.elb.DescribeTargetHealth(context.Background(), &elb.DescribeTargetHealthInput{TargetGroupArn: &b.group})).or(b.i.t).TargetHealthDescriptions {
		out[*h.Target.Id] = h.TargetHealth.State
	}
	return out
}

func (n *network) dnsHostnames() {
	n.i.t.Helper()
	got(n.acct.ec2.ModifyVpcAttribute(context.Background(), &ec2.ModifyVpcAttributeInput{VpcId: &n.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(n.i.t)
}

// A workload that looks at a private name and connects to what it leads to, all
// the time, while the endpoint is made, accepted, changed, rejected and deleted.
func TestANameNeverLeadsWhereNoPacketPasses(t *testing.T) {
	needRoot(t)
	times := 30
	if os.Getenv("POSTERN_LONG_TESTS") != "" {
		times = 1000
	}
	i, ctx := newInstall(t), context.Background()
	consumer, provider := i.network(i.account("consumer")), i.network(i.account("provider"))
	consumer.dnsHostnames()
	i.must("domain", "verify", "example.com", "--account", "provider")
	var source *exec.Cmd
	p := provider.twoZones(true, true, func(subnets []string) []string {
		id := provider.launch(subnets[0], provider.group).id
		source = i.exec(id, "source", "8080")
		return []string{id}
	})
	i.listening(source)
	got(provider.acct.ec2.ModifyVpcEndpointServiceConfiguration(ctx, &ec2.ModifyVpcEndpointServiceConfigurationInput{ServiceId: &p.service, PrivateDnsName: aws.String("api.example.com")})).or(t)
	eventually(t, "the target is healthy", 15*time.Second, func() bool {
		for _, h := range p.health() {
			return h == elbtypes.TargetHealthStateEnumHealthy
		}
		return false
	})
	other := consumer.zoneB()
	client, _ := consumer.instance()
	w := i.watches(client, "api.example.com", "80")
	w.sees(10 * time.Second)
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	came := 0
	for came < times {
		e := got(consumer.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &consumer.vpc, ServiceName: &p.name, VpcEndpointType: types.VpcEndpointTypeInterface,
			SubnetIds: []string{consumer.subnet}, SecurityGroupIds: []string{consumer.group}, PrivateDnsEnabled: aws.Bool(true)})).or(t).VpcEndpoint
		addr := map[string]string{} // by subnet
		look := func() (addrs []string) {
			clear(addr)
			for _, n := range got(consumer.acct.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{
				{Name: aws.String("interface-type"), Values: []string{"vpc_endpoint"}}}})).or(t).NetworkInterfaces {
				addr[*n.SubnetId] = *n.PrivateIpAddress
				addrs = append(addrs, *n.PrivateIpAddress)
			}
			return addrs
		}
		answer := func(accept bool) {
			t.Helper()
			ids := []string{*e.VpcEndpointId}
			if accept {
				got(provider.acct.ec2.AcceptVpcEndpointConnections(ctx, &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &p.service, VpcEndpointIds: ids})).or(t)
				came++
				w.sees(10*time.Second, look()...)
				return
			}
			got(provider.acct.ec2.RejectVpcEndpointConnections(ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: &p.service, VpcEndpointIds: ids})).or(t)
			w.sees(10 * time.Second)
		}
		answer(true)
		if rnd.IntN(2) == 0 {
			answer(false)
			answer(true)
		}
		if rnd.IntN(2) == 0 {
			got(consumer.acct.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: e.VpcEndpointId, AddSubnetIds: []string{other}})).or(t)
			came++
			w.sees(10*time.Second, look()...)
			got(consumer.acct.ec2.ModifyVpcEndpoint(ctx, &ec2.ModifyVpcEndpointInput{VpcEndpointId: e.VpcEndpointId, RemoveSubnetIds: []string{consumer.subnet}})).or(t)
			w.sees(10*time.Second, addr[other])
		}
		if out := got(consumer.acct.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpointId}})).or(t); len(out.Unsuccessful) > 0 {
			t.Fatal(*out.Unsuccessful[0].Error.Message)
		}
		w.sees(10 * time.Second)
		if t.Failed() {
			return
		}
	}
	t.Logf("addresses came and went %d times", came)
}

// A zone whose targets are ill leaves the regional name, not the zonal one; when
// all are ill, all answer: within 2 s of the verdict, which is counted from when
// the API shows it, and that is looked at every 20 ms.
func TestAnIllZoneLeavesTheRegionalName(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	consumer, provider := i.network(i.account("consumer")), i.network(i.account("provider"))
	ids := make([]string, 2)
	programs := make([]*exec.Cmd, 2)
	p := provider.twoZones(false, false, func(subnets []string) []string {
		for z, s := range subnets {
			ids[z] = provider.launch(s, provider.group).id
			programs[z] = i.exec(ids[z], "source", "8080")
		}
		return ids
	})
	for _, cmd := range programs {
		i.listening(cmd)
	}
	becomes := func(z int, want elbtypes.TargetHealthStateEnum) time.Time {
		t.Helper()
		eventually(t, ids[z]+" is "+string(want), 30*time.Second, func() bool { return p.health()[ids[z]] == want })
		return time.Now()
	}
	soon := func(what string, took time.Duration) {
		t.Helper()
		t.Logf("from the verdict to %s: %v", what, took.Round(time.Millisecond))
		if took > 2*time.Second {
			t.Errorf("%s came %v after the verdict, want 2s at most", what, took)
		}
	}
	becomes(0, elbtypes.TargetHealthStateEnumHealthy)
	becomes(1, elbtypes.TargetHealthStateEnumHealthy)
	e := got(consumer.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &consumer.vpc, ServiceName: &p.name, VpcEndpointType: types.VpcEndpointTypeInterface,
		SubnetIds: []string{consumer.subnet, consumer.zoneB()}, SecurityGroupIds: []string{consumer.group}, PrivateDnsEnabled: aws.Bool(false)})).or(t).VpcEndpoint
	var addrs []string
	for _, id := range e.NetworkInterfaceIds {
		a, _ := consumer.addrs(id)
		addrs = append(addrs, a)
	}
	slices.Sort(addrs) // 10.0.1.x in the first zone, 10.0.2.x in the second
	client, _ := consumer.instance()
	regional := i.watches(client, *e.DnsEntries[0].DnsName)
	zonal := i.watches(client, *e.DnsEntries[2].DnsName)
	if n := zonal.name; !strings.Contains(n, "-us-east-1b.") {
		t.Fatalf("the third name is %s, want the second zone's", n)
	}
	regional.sees(10*time.Second, addrs...)
	zonal.sees(10*time.Second, addrs[1])

	programs[1].Process.Kill()
	verdict := becomes(1, elbtypes.TargetHealthStateEnumUnhealthy)
	left := regional.sees(10*time.Second, addrs[0])
	soon("the answer without the zone", left.Sub(verdict))

	programs[0].Process.Kill()
	verdict = becomes(0, elbtypes.TargetHealthStateEnumUnhealthy)
	all := regional.sees(10*time.Second, addrs...)
	soon("the answer with all zones, all ill", all.Sub(verdict))

	i.listening(i.exec(ids[1], "source", "8080"))
	verdict = becomes(1, elbtypes.TargetHealthStateEnumHealthy)
	back := regional.sees(10*time.Second, addrs[1])
	soon("the answer with the zone alone that is well again", back.Sub(verdict))
	select {
	case line := <-zonal.lines:
		t.Errorf("the zonal name changed: %s", line)
	default:
	}
}

// runs is what a command of the host prints inside an instance.
func (i *install) runs(instance string, argv ...string) string {
	i.t.Helper()
	cmd := exec.Command(program, append([]string{"exec", "--data-dir", i.dir, instance, "--"}, argv...)...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return err.Error() + ": " + string(out)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestAWorkloadResolvesAsItsVPCSays(t *testing.T) {
	needRoot(t)
	i, ctx := newInstall(t), context.Background()
	n := i.networkOf(i.account("owner"), "10.0.0.0/16", true)
	m, other := n.launch(n.subnet, n.group), n.launch(n.subnet, n.group)
	wants := func(want string, argv ...string) {
		t.Helper()
		if got := i.runs(m.id, argv...); got != want {
			t.Errorf("%v: %q, want %q", argv, got, want)
		}
	}
	const rest = " options timeout:2 attempts:3"
	wants("search ec2.internal nameserver 10.0.0.2"+rest, "cat", "/etc/resolv.conf")
	ip := "ip-" + strings.ReplaceAll(other.addr, ".", "-")
	wants(other.addr+" "+ip+".ec2.internal", "getent", "hosts", ip)
	wants("exit status 2: ", "getent", "hosts", other.id)
	wants("exit status 2: ", "getent", "hosts", other.six)
	got(n.acct.ec2.ModifyPrivateDnsNameOptions(ctx, &ec2.ModifyPrivateDnsNameOptionsInput{InstanceId: &other.id, PrivateDnsHostnameType: types.HostnameTypeResourceName,
		EnableResourceNameDnsARecord: aws.Bool(true), EnableResourceNameDnsAAAARecord: aws.Bool(true)})).or(t)
	name := other.id + ".ec2.internal"
	eventually(t, "the resource name resolves", 5*time.Second, func() bool { return i.runs(m.id, "getent", "ahostsv4", other.id) != "exit status 2: " })
	wants(other.six+" "+name, "getent", "hosts", other.id) // of the two it prefers IPv6
	wants(other.six+" "+name, "getent", "hosts", other.six)
	wants(other.addr+" "+name, "getent", "hosts", other.addr)
	wants(other.addr+" "+ip+".ec2.internal", "getent", "hosts", ip)

	set := got(n.acct.ec2.CreateDhcpOptions(ctx, &ec2.CreateDhcpOptionsInput{DhcpConfigurations: []types.NewDhcpConfiguration{
		{Key: aws.String("domain-name"), Values: []string{"corp.example b.example x\nnameserver"}},
		{Key: aws.String("domain-name-servers"), Values: []string{"2001:db8::53", "192.0.2.53", "192.0.2.54"}}}})).or(t).DhcpOptions.DhcpOptionsId
	use := func(id string) {
		t.Helper()
		got(n.acct.ec2.AssociateDhcpOptions(ctx, &ec2.AssociateDhcpOptionsInput{DhcpOptionsId: &id, VpcId: &n.vpc})).or(t)
	}
	use(*set)
	wants("search corp.example b.example x nameserver nameserver 192.0.2.53 nameserver 192.0.2.54 nameserver 2001:db8::53"+rest, "cat", "/etc/resolv.conf")
	use("default")
	wants("search ."+rest, "cat", "/etc/resolv.conf")
}
