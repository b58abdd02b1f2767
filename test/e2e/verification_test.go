// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
)

// nameServer is an authoritative server for example.com on a port of loopback.
type nameServer struct {
	t      *testing.T
	addr   string
	zone   string // file
	serial int
	cmd    *exec.Cmd
}

// newNameServer starts NSD, which scripts/deps.sh installs.
func newNameServer(t *testing.T) *nameServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return newNameServerAt(t, "", l.Addr().String())
}

// newNameServerAt starts it in a network namespace, or with "" in the host's.
func newNameServerAt(t *testing.T, netns, addr string) *nameServer {
	const program = "/usr/sbin/nsd"
	if _, err := os.Stat(program); err != nil {
		t.Skip("needs nsd: scripts/deps.sh installs it")
	}
	dir := t.TempDir()
	host, port, _ := net.SplitHostPort(addr)
	s := &nameServer{t: t, addr: addr, zone: filepath.Join(dir, "zone")}
	s.write()
	conf := filepath.Join(dir, "conf")
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(conf, fmt.Appendf(nil, `server:
  ip-address: %s@%s
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  zonesdir: "%s"
  pidfile: "%s"
  zonelistfile: "%s"
  xfrdfile: "%s"
  xfrdir: "%s"
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: zone
`, host, port, dir, in("pid"), in("zonelist"), in("xfrd"), dir), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	s.cmd = exec.Command(program, "-d", "-c", conf)
	if netns != "" {
		s.cmd = exec.Command("ip", "netns", "exec", netns, program, "-d", "-c", conf)
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = environment()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // its children too
		s.cmd.Wait()
		if t.Failed() {
			t.Logf("the name server's log:\n%s", tail(log.String(), 20))
		}
	})
	s.await()
	return s
}

// write writes the zone with records, as a zone file has them.
func (s *nameServer) write(records ...string) {
	s.t.Helper()
	s.serial++
	text := fmt.Sprintf("$ORIGIN example.com.\n$TTL 60\n@ SOA ns hostmaster %d 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\nserial TXT %d\n%s\n",
		s.serial, s.serial, strings.Join(records, "\n"))
	if err := os.WriteFile(s.zone, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// publishes makes the server answer with records and no others.
func (s *nameServer) publishes(records ...string) {
	s.t.Helper()
	s.write(records...)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.await()
}

// await waits until the server answers with the newest zone.
func (s *nameServer) await() {
	s.t.Helper()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}}
	eventually(s.t, fmt.Sprintf("the name server has zone %d", s.serial), 20*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		txt, err := r.LookupTXT(ctx, "serial.example.com.")
		return err == nil && slices.Equal(txt, []string{fmt.Sprint(s.serial)})
	})
}

func TestPrivateNamesAreVerifiedByANameServer(t *testing.T) {
	dns := newNameServer(t)
	i, ctx := newInstall(t, "--datapath=none", "--dns-upstream", dns.addr), context.Background()
	provider, consumer := i.network(i.account("provider")), i.network(i.account("consumer"))
	consumer.dnsHostnames()
	a := provider.acct.ec2
	type named struct {
		id, service   string
		record, value string
	}
	balancers := 0
	service := func(name string) named {
		t.Helper()
		balancers++
		lb := got(provider.acct.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String(fmt.Sprint("lb", balancers)), Type: elbtypes.LoadBalancerTypeEnumNetwork,
			Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: []string{provider.subnet}})).or(t).LoadBalancers[0].LoadBalancerArn
		s := got(a.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{NetworkLoadBalancerArns: []string{*lb},
			AcceptanceRequired: aws.Bool(false), PrivateDnsName: &name})).or(t).ServiceConfiguration
		got(a.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: s.ServiceId, AddAllowedPrincipals: []string{"*"}})).or(t)
		c := s.PrivateDnsNameConfiguration
		return named{*s.ServiceId, *s.ServiceName, *c.Name, *c.Value}
	}
	state := func(s named) types.DnsNameState {
		t.Helper()
		return got(a.DescribeVpcEndpointServiceConfigurations(ctx, &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{s.id}})).
			or(t).ServiceConfigurations[0].PrivateDnsNameConfiguration.State
	}
	becomes := func(what string, s named, want types.DnsNameState, within time.Duration) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: the name is %s", what, want), within, func() bool { return state(s) == want })
	}
	// asked starts a verification and wants its result.
	asked := func(what string, s named, want types.DnsNameState) {
		t.Helper()
		got(a.StartVpcEndpointServicePrivateDnsVerification(ctx, &ec2.StartVpcEndpointServicePrivateDnsVerificationInput{ServiceId: &s.id})).or(t)
		becomes(what, s, want, 10*time.Second)
	}
	// may says whether an endpoint can have the name now.
	may := func(s named) error {
		e, err := consumer.acct.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &consumer.vpc, ServiceName: &s.service,
			VpcEndpointType: types.VpcEndpointTypeInterface, SubnetIds: []string{consumer.subnet}, PrivateDnsEnabled: aws.Bool(true)})
		if err == nil {
			got(consumer.acct.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{*e.VpcEndpoint.VpcEndpointId}})).or(t)
		}
		return err
	}
	const ok, failed = types.DnsNameStateVerified, types.DnsNameStateFailed

	s := service("api.example.com")
	if state(s) != types.DnsNameStatePendingVerification || !strings.HasPrefix(s.record, "_") || !strings.HasPrefix(s.value, "vpce:") {
		t.Errorf("%s, record %s, value %s", state(s), s.record, s.value)
	}
	asked("nothing is published", s, failed)
	var code smithy.APIError
	if err := may(s); !errors.As(err, &code) || code.ErrorCode() != "InvalidParameter" {
		t.Errorf("an endpoint with a name that is not verified: %v", err)
	}
	dns.publishes(fmt.Sprintf("%s.api TXT %q", s.record, strings.ToLower(s.value)+"x"))
	asked("another value", s, failed)
	at := func(name, value string) string { return fmt.Sprintf("%s TXT %q", name, value) }
	for _, c := range []struct{ what, record string }{
		{"below the name", at(s.record+".api", s.value)},
		{"at the name itself", at("api", s.value)},
		{"below the parent domain", at(s.record, s.value)},
		{"at the parent domain", at("@", s.value)},
		{"in two strings", fmt.Sprintf("@ TXT %q %q", s.value[:9], s.value[9:])},
		{"where a CNAME leads", s.record + ".api CNAME proof\nproof TXT \"" + s.value + "\""},
		{"for all names", at("*", s.value)},
	} {
		dns.publishes(c.record)
		asked(c.what, s, ok)
		dns.publishes()
		asked(c.what+", taken away", s, failed)
	}
	// More than one packet holds: it is asked again over TCP.
	many := []string{at("@", s.value)}
	for n := range 40 {
		many = append(many, at("@", fmt.Sprintf("%03d %s", n, strings.Repeat("x", 200))))
	}
	dns.publishes(many...)
	asked("among many", s, ok)
	if err := may(s); err != nil {
		t.Error("an endpoint with a verified name:", err)
	}
	wild := service("*.svc.example.com")
	dns.publishes(at(wild.record+".svc", wild.value))
	asked("of a wildcard", wild, ok)
	// The operator's word needs no record.
	vouched := service("a.b.vouched.test")
	asked("of a domain that the server refuses to speak of", vouched, types.DnsNameStatePendingVerification)
	i.must("domain", "verify", "vouched.test", "--account", "provider")
	asked("vouched for", vouched, ok)

	if os.Getenv("POSTERN_LONG_TESTS") == "" {
		return
	}
	auto := service("auto.example.com")
	dns.publishes(at(auto.record+".auto", auto.value))
	becomes("by itself", auto, ok, 45*time.Second)
}
