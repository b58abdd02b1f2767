// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sys/unix"
)

// aimResolve is what p99 of create to resolvable is meant to stay below.
const aimResolve = 20 * time.Millisecond

// What is resolved is the service's private name: an endpoint's own names are
// known only when the call has been answered. It is a CNAME to one of those, and
// both have to be there for an address.
const (
	privateDomain = "bench.test"
	privateName   = "api." + privateDomain
	resolverAddr  = "10.0.0.2"
)

// measureResolution is the time from sending CreateVpcEndpoint to the first
// right answer of the VPC's resolver in the consumer's namespace.
func (i *installation) measureResolution(tries int, progress func(string, ...any)) (*delay, error) {
	service, err := i.named()
	if err != nil {
		return nil, fmt.Errorf("a service with a private name: %w", err)
	}
	d := &delay{}
	for n := range tries {
		took, answered, err := i.resolveOnce(service)
		if err != nil {
			return nil, fmt.Errorf("create to resolvable, try %d: %w\n%s", n+1, err, i.log())
		}
		d.add(took, answered)
		progress("create %d/%d: resolvable after %.1f ms, API answered after %.1f ms", n+1, tries, float64(took)/1e6, float64(answered)/1e6)
	}
	return d, nil
}

// named gives the service a private name and takes it acceptance: what is
// measured is what a consumer alone brings about.
func (i *installation) named() (service string, err error) {
	ctx, p := i.lab.ctx, i.provider
	cmd := exec.CommandContext(ctx, i.program, "domain", "verify", privateDomain, "--account", "provider", "--data-dir", i.dataDir)
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("postern domain verify: %w: %s", err, bytes.TrimSpace(out))
	}
	if _, err := i.consumer.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &i.consumer.vpc,
		EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}}); err != nil {
		return "", err
	}
	if _, err := p.ec2.ModifyVpcEndpointServiceConfiguration(ctx, &ec2.ModifyVpcEndpointServiceConfigurationInput{ServiceId: &i.service,
		AcceptanceRequired: aws.Bool(false), PrivateDnsName: aws.String(privateName)}); err != nil {
		return "", err
	}
	s, err := p.ec2.DescribeVpcEndpointServiceConfigurations(ctx, &ec2.DescribeVpcEndpointServiceConfigurationsInput{ServiceIds: []string{i.service}})
	if err != nil {
		return "", err
	}
	return *s.ServiceConfigurations[0].ServiceName, nil
}

// resolveOnce is one try; it removes the endpoint that it makes.
func (i *installation) resolveOnce(service string) (took, answered int64, err error) {
	ctx, c := i.lab.ctx, i.consumer
	var made *types.VpcEndpoint
	defer func() {
		if made != nil {
			err = errors.Join(err, i.remove(*made.VpcEndpointId))
		}
	}()
	took, answered, seen, err := i.witnessed("absent", func() error {
		e, err := c.ec2.CreateVpcEndpoint(ctx, &ec2.CreateVpcEndpointInput{VpcId: &c.vpc, ServiceName: &service,
			VpcEndpointType: types.VpcEndpointTypeInterface, SubnetIds: []string{c.subnet}, SecurityGroupIds: []string{c.group}, PrivateDnsEnabled: aws.Bool(true)})
		if err == nil {
			made = e.VpcEndpoint
		}
		return err
	}, "resolve", "-to", resolverAddr+":53", "-name", privateName, "-for", "20s")
	if err != nil {
		return 0, 0, err
	}
	eni, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: made.NetworkInterfaceIds})
	if err != nil {
		return 0, 0, err
	}
	if want := *eni.NetworkInterfaces[0].PrivateIpAddress; len(seen) != 1 || seen[0] != want {
		return 0, 0, fmt.Errorf("the client got %q, want %s", seen, want)
	}
	return took, answered, nil
}

// remove deletes an endpoint of the consumer's and waits until nothing is left
// of it: no try competes with the end of the one before.
func (i *installation) remove(endpoint string) error {
	ctx, c, ids := i.lab.ctx, i.consumer, []string{endpoint}
	out, err := c.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: ids})
	if err != nil {
		return err
	}
	if err := refused("delete", out.Unsuccessful); err != nil {
		return err
	}
	return i.eventually("endpoint "+endpoint+" is gone", func() (bool, error) {
		d, err := c.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("vpc-endpoint-id"), Values: ids}}})
		if err != nil {
			return false, err
		}
		return len(d.VpcEndpoints) == 0, nil
	})
}

// askEvery keeps the client below the 1,024 packets a second that an interface
// may send to the resolver. The time that is found is too long by it at most.
const askEvery = time.Millisecond

// firstAnswer asks a resolver for the A records of a name until three answers
// in a row had none, prints "absent", and asks on until one has; it prints the
// time of that in nanoseconds since the epoch, and the address.
func firstAnswer(resolver netip.AddrPort, name string, lasts time.Duration, out io.Writer) error {
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(c)
	if err := errors.Join(setTimeout(c, unix.SO_RCVTIMEO, 20*time.Millisecond),
		unix.Connect(c, &unix.SockaddrInet4{Port: int(resolver.Port()), Addr: resolver.Addr().As4()})); err != nil {
		return err
	}
	end := time.Now().Add(lasts)
	absent := 0
	var id uint16
	for next := time.Now(); next.Before(end); next = next.Add(askEvery) {
		if err := waitUntil(next); err != nil {
			return err
		}
		next = time.Now()
		id++
		addr, answered, err := askOnce(c, id, name)
		at := time.Now()
		switch {
		case err != nil:
			return err
		case addr.IsValid() && absent >= 3:
			_, err := fmt.Fprintln(out, at.UnixNano(), addr)
			return err
		case addr.IsValid():
			absent = 0
		case answered:
			if absent++; absent == 3 {
				if _, err := fmt.Fprintln(out, "absent"); err != nil {
					return err
				}
			}
		}
	}
	if absent < 3 {
		return fmt.Errorf("%s did not go within %v", name, lasts)
	}
	return fmt.Errorf("no answer for %s within %v", name, lasts)
}

// waitUntil ends at a time, to the microsecond.
func waitUntil(at time.Time) error {
	for {
		left := time.Until(at)
		if left <= 0 {
			return nil
		}
		ts := unix.NsecToTimespec(int64(left))
		if _, err := unix.Ppoll(nil, &ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// askOnce asks and reads the answer: its first address, invalid for none.
// answered is false if there was no answer in time.
func askOnce(c int, id uint16, name string) (addr netip.Addr, answered bool, err error) {
	if _, err := unix.Write(c, query(id, name)); err != nil && !again(err) {
		return addr, false, fmt.Errorf("ask: %w", err)
	}
	buf := make([]byte, 1500)
	for {
		n, err := unix.Read(c, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && again(err):
			return addr, false, nil
		case err != nil:
			return addr, false, fmt.Errorf("read the answer: %w", err)
		}
		if n >= 12 && binary.BigEndian.Uint16(buf) == id {
			addr, err = firstA(buf[:n])
			return addr, true, err
		}
	}
}

// query is a question for the A records of a name.
func query(id uint16, name string) []byte {
	q := binary.BigEndian.AppendUint16(nil, id)
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // recursion desired, one question
	for _, label := range strings.Split(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, 1, 0, 1)
}

// firstA is the first address among an answer's records.
func firstA(m []byte) (netip.Addr, error) {
	bad := errors.New("an answer that cannot be read")
	skip := func(at int) int { // a name
		for at < len(m) {
			switch l := int(m[at]); {
			case l == 0:
				return at + 1
			case l >= 0xc0:
				return at + 2
			default:
				at += 1 + l
			}
		}
		return len(m) + 1
	}
	at := skip(12) + 4
	for range binary.BigEndian.Uint16(m[6:]) {
		at = skip(at)
		if at+10 > len(m) {
			return netip.Addr{}, bad
		}
		rrtype, size := binary.BigEndian.Uint16(m[at:]), int(binary.BigEndian.Uint16(m[at+8:]))
		if at += 10; at+size > len(m) {
			return netip.Addr{}, bad
		}
		if rrtype == 1 && size == 4 {
			return netip.AddrFrom4([4]byte(m[at:])), nil
		}
		at += size
	}
	return netip.Addr{}, nil
}
