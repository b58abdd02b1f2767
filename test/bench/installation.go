// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/api/apitest"
)

const region = "us-east-1"

// installation is a running Postern with one interface endpoint: two accounts,
// two VPCs with the same addresses, an instance on each side, a load balancer
// and an endpoint service that wants acceptance.
type installation struct {
	lab      *lab
	program  string
	dataDir  string
	address  string // of the API
	provider *account

	consumer *account
	service  string // id
	endpoint string // id
	path     *path
}

// account is one account with its VPC.
type account struct {
	ec2                            *ec2.Client
	elb                            *elb.Client
	vpc, subnet, group, instanceID string
}

func (l *lab) postern(program string) (*installation, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	if unix.Access(program, unix.X_OK) != nil {
		return nil, missing{program + " is missing: run `make build`, or say -postern FILE"}
	}
	i := &installation{lab: l, program: program, dataDir: filepath.Join(l.dir, "data")}
	if err := i.start(); err != nil {
		return nil, err
	}
	if err := i.build(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, i.log())
	}
	return i, nil
}

// start runs serve and waits for its ready line.
func (i *installation) start() error {
	l := i.lab
	log, err := os.Create(filepath.Join(l.dir, "serve.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// Not bound to the context: an interrupt must leave it time to stop.
	cmd := exec.Command(i.program, "serve", "--data-dir", i.dataDir, "--listen", "127.0.0.1:0", "--region", region, "--dns-upstream", "none")
	cmd.Env = environment()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true} // Ctrl-C reaches us first
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	l.undo(func() error { return resetInstallation(i.program, i.dataDir) })
	if err := l.launch.start(cmd, "", nil); err != nil {
		return err
	}
	l.undo(func() error { return end(cmd, unix.SIGTERM, 20*time.Second) })
	ready := make(chan string, 1)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if rest, ok := strings.CutPrefix(sc.Text(), "ready: "); ok {
				ready <- strings.Fields(rest)[0]
			}
		}
		close(ready)
	}()
	select {
	case a, ok := <-ready:
		if !ok {
			return fmt.Errorf("postern serve ended before it was ready\n%s", i.log())
		}
		i.address = a
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	case <-time.After(time.Minute):
		return fmt.Errorf("postern serve is not ready after a minute\n%s", i.log())
	}
}

// log is the end of what serve wrote.
func (i *installation) log() string {
	b, _ := os.ReadFile(filepath.Join(i.lab.dir, "serve.log"))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// resetInstallation removes what an installation made on the host.
func resetInstallation(program, dataDir string) error {
	if _, err := os.Stat(dataDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	cmd := exec.Command(program, "reset", "--data-dir", dataDir, "--yes")
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("postern reset of %s: %w: %s", dataDir, err, bytes.TrimSpace(out))
	}
	return nil
}

// newAccount makes an account with a VPC, a subnet, a security group that lets
// the VPC in on the ports of the benchmark, and an instance.
func (i *installation) newAccount(name string) (*account, error) {
	ctx := i.lab.ctx
	cmd := exec.CommandContext(ctx, i.program, "account", "create", name, "--json", "--data-dir", i.dataDir)
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("make account %s: %w", name, err)
	}
	var made struct{ Keys []struct{ ID, Secret string } }
	if err := json.Unmarshal(out, &made); err != nil || len(made.Keys) == 0 {
		return nil, fmt.Errorf("make account %s: printed %q: %w", name, out, err)
	}
	keys := credentials.NewStaticCredentialsProvider(made.Keys[0].ID, made.Keys[0].Secret, "")
	a := &account{
		ec2: ec2.New(ec2.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &i.address, Credentials: keys}),
		elb: elb.New(elb.Options{Region: region, HTTPClient: apitest.Client(), BaseEndpoint: &i.address, Credentials: keys}),
	}
	v, err := a.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		return nil, err
	}
	a.vpc = *v.Vpc.VpcId
	s, err := a.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &a.vpc, CidrBlock: aws.String("10.0.1.0/24"), AvailabilityZone: aws.String(region + "a")})
	if err != nil {
		return nil, err
	}
	a.subnet = *s.Subnet.SubnetId
	g, err := a.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &a.vpc, GroupName: aws.String("bench"), Description: aws.String("the VPC to the two ports")})
	if err != nil {
		return nil, err
	}
	a.group = *g.GroupId
	var rules []types.IpPermission
	for _, port := range []int32{askPort, serverPort} {
		rules = append(rules, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(port), ToPort: aws.Int32(port),
			IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}}})
	}
	if _, err := a.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &a.group, IpPermissions: rules}); err != nil {
		return nil, err
	}
	r, err := a.ec2.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-00000000"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: &a.subnet, SecurityGroupIds: []string{a.group}})
	if err != nil {
		return nil, err
	}
	a.instanceID = *r.Instances[0].InstanceId
	return a, i.eventually("instance "+a.instanceID+" runs", func() (bool, error) {
		d, err := a.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{a.instanceID}})
		if err != nil {
			return false, err
		}
		return d.Reservations[0].Instances[0].State.Name == types.InstanceStateNameRunning, nil
	})
}

// namespace finds the namespace of an instance; its name ends with the id.
func (i *installation) namespace(instance string) (string, error) {
	found, err := filepath.Glob(filepath.Join(netnsDir, "postern-*-"+instance))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("instance %s has %d namespaces, want one (%w)", instance, len(found), err)
	}
	return found[0], nil
}

// build makes the two sides and joins them; when it returns, a byte has passed.
func (i *installation) build() (err error) {
	ctx := i.lab.ctx
	if i.provider, err = i.newAccount("provider"); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	if i.consumer, err = i.newAccount("consumer"); err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	serverNS, err := i.namespace(i.provider.instanceID)
	if err != nil {
		return err
	}
	clientNS, err := i.namespace(i.consumer.instanceID)
	if err != nil {
		return err
	}
	i.path = &path{name: "postern", about: "interface endpoint of another account's service: two VPCs with the same addresses, load balancer, security groups", clientNS: clientNS}
	for _, ns := range []string{serverNS, clientNS} {
		if err := i.lab.tune(ns); err != nil {
			return err
		}
	}
	if i.path.server, err = i.lab.serve(serverNS); err != nil {
		return err
	}
	if err := i.offer(); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	name, err := i.provider.ec2.DescribeVpcEndpointServiceConfigurations(ctx, &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{i.service}})
	if err != nil {
		return err
	}
	c := i.consumer
	e, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &c.vpc, ServiceName: name.ServiceConfigurations[0].ServiceName,
		VpcEndpointType: types.VpcEndpointTypeInterface, SubnetIds: []string{c.subnet}, SecurityGroupIds: []string{c.group}, PrivateDnsEnabled: aws.Bool(false)})
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	i.endpoint = *e.VpcEndpoint.VpcEndpointId
	eni, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: e.VpcEndpoint.NetworkInterfaceIds})
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	addr, err := netip.ParseAddr(*eni.NetworkInterfaces[0].PrivateIpAddress)
	if err != nil {
		return fmt.Errorf("address of the endpoint: %w", err)
	}
	i.path.to = netip.AddrPortFrom(addr, askPort)
	if err := i.accept(); err != nil {
		return err
	}
	return i.lab.reachable(i.path)
}

// offer puts a load balancer in front of the server and offers it as an
// endpoint service to everybody, with acceptance.
func (i *installation) offer() error {
	ctx, p := i.lab.ctx, i.provider
	lbs, err := p.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String("bench"), Type: elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme: elbtypes.LoadBalancerSchemeEnumInternal, Subnets: []string{p.subnet}})
	if err != nil {
		return err
	}
	tgs, err := p.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String("bench"), Protocol: elbtypes.ProtocolEnumTcp,
		Port: aws.Int32(serverPort), VpcId: &p.vpc, TargetType: elbtypes.TargetTypeEnumInstance})
	if err != nil {
		return err
	}
	lb, tg := lbs.LoadBalancers[0].LoadBalancerArn, tgs.TargetGroups[0].TargetGroupArn
	if _, err := p.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tg, Targets: []elbtypes.TargetDescription{{Id: &p.instanceID}}}); err != nil {
		return err
	}
	if _, err := p.elb.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: lb, Protocol: elbtypes.ProtocolEnumTcp, Port: aws.Int32(askPort),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: tg}}}); err != nil {
		return err
	}
	if err := i.eventually("the target is healthy", func() (bool, error) {
		h, err := p.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: tg})
		if err != nil {
			return false, err
		}
		d := h.TargetHealthDescriptions
		return len(d) == 1 && d[0].TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy, nil
	}); err != nil {
		return err
	}
	s, err := p.ec2.CreateVpcEndpointServiceConfiguration(ctx, &ec2.CreateVpcEndpointServiceConfigurationInput{
		NetworkLoadBalancerArns: []string{*lb}, AcceptanceRequired: aws.Bool(true)})
	if err != nil {
		return err
	}
	i.service = *s.ServiceConfiguration.ServiceId
	_, err = p.ec2.ModifyVpcEndpointServicePermissions(ctx, &ec2.ModifyVpcEndpointServicePermissionsInput{ServiceId: &i.service, AddAllowedPrincipals: []string{"*"}})
	return err
}

func (i *installation) accept() error {
	out, err := i.provider.ec2.AcceptVpcEndpointConnections(i.lab.ctx, &ec2.AcceptVpcEndpointConnectionsInput{ServiceId: &i.service, VpcEndpointIds: []string{i.endpoint}})
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return refused("accept", out.Unsuccessful)
}

func (i *installation) reject() error {
	out, err := i.provider.ec2.RejectVpcEndpointConnections(i.lab.ctx, &ec2.RejectVpcEndpointConnectionsInput{ServiceId: &i.service, VpcEndpointIds: []string{i.endpoint}})
	if err != nil {
		return fmt.Errorf("reject: %w", err)
	}
	return refused("reject", out.Unsuccessful)
}

func refused(what string, items []types.UnsuccessfulItem) error {
	for _, u := range items {
		return fmt.Errorf("%s %s: %s", what, aws.ToString(u.ResourceId), aws.ToString(u.Error.Message))
	}
	return nil
}

// eventually asks until the answer is yes.
func (i *installation) eventually(what string, f func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(i.lab.ctx, 60*time.Second)
	defer cancel()
	for {
		if ok, err := f(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within a minute: %s (%w)", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
