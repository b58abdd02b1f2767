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
	service  string     // id
	endpoint string     // id
	addr     netip.Addr // of the endpoint
	path     *path

	proxiedServer *exec.Cmd
}

// What the load balancer listens on, besides askPort.
const (
	udpAskPort     = 81 // UDP, to serverPort
	proxiedAskPort = 82 // to proxiedPort, with the PROXY protocol
	proxiedPort    = 8081
)

// account is one account with its VPC.
type account struct {
	ec2                            *ec2.Client
	elb                            *elb.Client
	vpc, subnet, group, instanceID string
}

func (l *lab) postern(program string, filler int) (*installation, error) {
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
	err = i.build()
	if err == nil {
		err = i.fill(filler)
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, i.log())
	}
	i.path.about += fmt.Sprintf("; %d more rules, routes and endpoints", filler)
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
	g, err := a.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &a.vpc, GroupName: aws.String("bench"), Description: aws.String("the VPC to the ports of the benchmark")})
	if err != nil {
		return nil, err
	}
	a.group = *g.GroupId
	var rules []types.IpPermission
	for _, r := range []struct {
		protocol string
		port     int32
	}{{"tcp", askPort}, {"tcp", serverPort}, {"tcp", proxiedAskPort}, {"tcp", proxiedPort}, {"udp", udpAskPort}, {"udp", serverPort}} {
		rules = append(rules, types.IpPermission{IpProtocol: aws.String(r.protocol), FromPort: aws.Int32(r.port), ToPort: aws.Int32(r.port),
			IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}}})
	}
	if _, err := a.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &a.group, IpPermissions: rules}); err != nil {
		return nil, err
	}
	a.instanceID, _, err = i.runInstance(a, a.group)
	return a, err
}

// runInstance starts an instance in an account's subnet.
func (i *installation) runInstance(a *account, group string) (id string, addr netip.Addr, err error) {
	ctx := i.lab.ctx
	r, err := a.ec2.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-00000000"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		SubnetId: &a.subnet, SecurityGroupIds: []string{group}})
	if err != nil {
		return "", addr, err
	}
	id = *r.Instances[0].InstanceId
	if addr, err = netip.ParseAddr(*r.Instances[0].PrivateIpAddress); err != nil {
		return "", addr, fmt.Errorf("address of instance %s: %w", id, err)
	}
	return id, addr, i.eventually("instance "+id+" runs", func() (bool, error) {
		d, err := a.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
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
