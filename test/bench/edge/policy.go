// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge"
	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

const (
	endpointID = vpc.EndpointID("vpce-0123456789abcdef0")
	vpcID      = vpc.VPCID("vpc-0123456789abcdef0")
	interfaceN = 7
	statements = 100
)

// policyDocument has so many statements, all of which are about the operation
// that is asked for and only the last of which is about the bucket.
func policyDocument() string {
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[`)
	for i := range statements - 1 {
		fmt.Fprintf(&b, `{"Sid":"team%d","Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::team-%d/*"},`, i, i)
	}
	fmt.Fprintf(&b, `{"Sid":"bench","Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::%s/*",`+
		`"Condition":{"StringEquals":{"aws:SourceVpce":%q},"StringLikeIfExists":{"s3:prefix":["home/*","shared/*"]}}}]}`, bucket, endpointID)
	return b.String()
}

// decision is the CPU time of one decision, in nanoseconds.
func decision() (float64, error) {
	p, err := policy.Parse([]byte(policyDocument()))
	if err != nil {
		return 0, err
	}
	root := vpc.AccountID(account).RootARN()
	r := policy.Request{
		Principal: root, Account: account, Action: "s3:GetObject", Resource: "arn:aws:s3:::" + bucket + "/" + smallKey,
		Context: map[string][]string{
			"aws:SourceVpce": {string(endpointID)}, "aws:SourceVpc": {string(vpcID)}, "aws:VpcSourceIp": {"10.0.1.5"},
			"aws:VpceAccount": {account}, "aws:SourceVpcArn": {"arn:aws:ec2:us-east-1:" + account + ":vpc/" + string(vpcID)},
			"aws:SecureTransport": {"false"}, "aws:CurrentTime": {"2026-01-01T00:00:00Z"}, "aws:EpochTime": {"1767225600"},
			"aws:RequestedRegion": {region}, "aws:ViaAWSService": {"false"}, "aws:PrincipalIsAWSService": {"false"},
			"aws:PrincipalArn": {root}, "aws:PrincipalAccount": {account}, "aws:PrincipalType": {"Account"}, "aws:userid": {account},
			"aws:UserAgent": {"aws-sdk-go-v2/1.41.0"}, "s3:authType": {"REST-HEADER"}, "s3:signatureversion": {"AWS4-HMAC-SHA256"},
			"s3:signatureAge": {"5"}, "s3:x-amz-content-sha256": {hashOf(nil)},
		},
		GatewayEndpoint: true,
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const times = 100_000
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	for range times {
		if d := p.Decide(&r); !d.Allowed || d.Statement != statements-1 {
			return 0, errors.New("the last statement of the policy did not allow")
		}
	}
	after, err := threadTime()
	return float64(after-before) / times, err
}

func threadTime() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano()), err
}

// edgeConfig is a host with one VPC and one endpoint.
func edgeConfig(backend string) edge.Config {
	if !strings.HasPrefix(backend, "unix:") {
		backend = "http://" + backend
	}
	return edge.Config{
		Region: region,
		VPCs:   map[vpc.VNI]desired.VPC{vpc.FirstVNI: {ID: vpcID, Owner: account, VNI: vpc.FirstVNI}},
		Services: map[string]desired.Service{"s3": {
			Name: "s3", ServiceName: "com.amazonaws." + region + ".s3", Protocol: "s3", Backends: []string{backend},
			PublicNames: []string{s3Host, "*." + s3Host},
		}},
		Endpoints: map[vpc.EndpointID]desired.Endpoint{endpointID: {
			ID: endpointID, VNI: vpc.FirstVNI, VPC: vpcID, Type: vpc.GatewayEndpoint, Service: "s3", Owner: account, Policy: policyDocument(),
		}},
		Interfaces: map[uint64]edge.Interface{interfaceN: {ID: "eni-0123456789abcdef0", VPC: vpcID, Owner: account}},
		Keys:       map[string]vpc.AccountID{accessKey: account},
	}
}

// fixed is an edge.Identifier to which all clients are one workload.
type fixed struct{}

func (fixed) Identify(remote, _ netip.AddrPort, _ int) (edge.Identity, error) {
	return edge.Identity{
		VNI: vpc.FirstVNI, Client: netip.AddrPortFrom(netip.MustParseAddr("10.0.1.5"), remote.Port()), Interface: interfaceN, Endpoint: vpc.Num(endpointID),
	}, nil
}
