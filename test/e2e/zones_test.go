// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	dnstypes "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"postern.dev/postern/internal/api/apitest"
)

// zoned is an account's private hosted zone.
type zoned struct {
	i    *install
	dns  *route53.Client
	zone string
}

func (i *install) route53(a *account) *route53.Client {
	return route53.New(route53.Options{Region: "us-east-1", HTTPClient: apitest.Client(), BaseEndpoint: &i.endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.key, a.secret, "")})
}

func (z *zoned) vpc(n *network) *dnstypes.VPC {
	return &dnstypes.VPC{VPCId: &n.vpc, VPCRegion: dnstypes.VPCRegionUsEast1}
}

// inSync waits for a change, and for nothing else.
func (z *zoned) inSync(c *dnstypes.ChangeInfo) {
	z.i.t.Helper()
	eventually(z.i.t, "the change is in sync", 10*time.Second, func() bool {
		out := got(z.dns.GetChange(context.Background(), &route53.GetChangeInput{Id: c.Id})).or(z.i.t)
		return out.ChangeInfo.Status == dnstypes.ChangeStatusInsync
	})
}

// change makes changes "ACTION NAME TYPE VALUE", where a value that begins with
// a zone's id and a slash is an alias, and waits until they are in sync.
func (z *zoned) change(changes ...string) {
	z.i.t.Helper()
	batch := &dnstypes.ChangeBatch{}
	for _, c := range changes {
		f := strings.SplitN(c, " ", 4)
		set := &dnstypes.ResourceRecordSet{Name: &f[1], Type: dnstypes.RRType(f[2])}
		if zone, name, alias := strings.Cut(f[3], "/"); alias {
			set.AliasTarget = &dnstypes.AliasTarget{HostedZoneId: &zone, DNSName: &name}
		} else {
			set.TTL, set.ResourceRecords = aws.Int64(60), []dnstypes.ResourceRecord{{Value: &f[3]}}
		}
		batch.Changes = append(batch.Changes, dnstypes.Change{Action: dnstypes.ChangeAction(f[0]), ResourceRecordSet: set})
	}
	out := got(z.dns.ChangeResourceRecordSets(context.Background(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: &z.zone, ChangeBatch: batch})).or(z.i.t)
	z.inSync(out.ChangeInfo)
}

// Workloads resolve the records of a zone as soon as its change is in sync, and
// only those in VPCs that are associated with it.
func TestWorkloadsResolvePrivateHostedZones(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	s := newStory(t, false)
	s.available()
	named := func(n *network) {
		got(n.acct.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &n.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})).or(t)
	}
	named(s.consumer)
	other := s.network(s.account("third"))
	named(other)
	stranger, _ := other.instance()
	z := &zoned{i: s.install, dns: s.route53(s.consumer.acct)}
	made := got(z.dns.CreateHostedZone(ctx, &route53.CreateHostedZoneInput{Name: aws.String("corp.example"), CallerReference: aws.String("one"), VPC: z.vpc(s.consumer)})).or(t)
	z.zone = strings.TrimPrefix(*made.HostedZone.Id, "/hostedzone/")
	z.inSync(made.ChangeInfo)
	asks := func(instance, name, kind, want string) {
		t.Helper()
		s.says(want, s.exec(instance, "records", name, kind, "10.0.0.2"))
	}
	ask := func(name, kind, want string) { t.Helper(); asks(s.client, name, kind, want) }

	ask("corp.example", "NS", "NOERROR | NS ns-0.awsdns-00.com. | NS ns-1024.awsdns-00.org. | NS ns-1536.awsdns-00.co.uk. | NS ns-512.awsdns-00.net.")
	ask("www.corp.example", "A", "NXDOMAIN")
	e := got(s.consumer.acct.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{s.endpoint}})).or(t).VpcEndpoints[0].DnsEntries[0]
	z.change("CREATE www.corp.example A 192.0.2.7", "CREATE *.corp.example TXT \"any \\101\"", "CREATE c.corp.example CNAME www.corp.example",
		"CREATE mail.corp.example MX 10 www.corp.example", "CREATE al.corp.example MX "+z.zone+"/mail.corp.example",
		"CREATE api.corp.example A "+*e.HostedZoneId+"/"+*e.DnsName, "CREATE corp.example A "+z.zone+"/api.corp.example")
	ask("WWW.corp.example", "A", "NOERROR | A 192.0.2.7")
	ask("www.corp.example", "AAAA", "NOERROR")
	ask("what.ever.corp.example", "TXT", `NOERROR | TXT "any A"`)
	ask("c.corp.example", "A", "NOERROR | A 192.0.2.7 | CNAME www.corp.example.")
	ask("al.corp.example", "MX", "NOERROR | MX 10 www.corp.example.")
	ask("api.corp.example", "A", "NOERROR | A "+s.addr)
	ask("corp.example", "A", "NOERROR | A "+s.addr)
	s.says("open", s.exec(s.client, "dial", "api.corp.example:80", "3s"))

	// The other account's VPC, which has the same addresses. Nobody outside is asked.
	asks(stranger, "www.corp.example", "A", "SERVFAIL")
	got(z.dns.CreateVPCAssociationAuthorization(ctx, &route53.CreateVPCAssociationAuthorizationInput{HostedZoneId: &z.zone, VPC: z.vpc(other)})).or(t)
	theirs := &zoned{i: s.install, dns: s.route53(other.acct), zone: z.zone}
	joined := got(theirs.dns.AssociateVPCWithHostedZone(ctx, &route53.AssociateVPCWithHostedZoneInput{HostedZoneId: &z.zone, VPC: z.vpc(other)})).or(t)
	theirs.inSync(joined.ChangeInfo)
	asks(stranger, "www.corp.example", "A", "NOERROR | A 192.0.2.7")
	asks(stranger, "api.corp.example", "A", "NOERROR") // the endpoint is not in this VPC
	left := got(z.dns.DisassociateVPCFromHostedZone(ctx, &route53.DisassociateVPCFromHostedZoneInput{HostedZoneId: &z.zone, VPC: z.vpc(other)})).or(t)
	z.inSync(left.ChangeInfo)
	asks(stranger, "www.corp.example", "A", "SERVFAIL")

	z.change("DELETE www.corp.example A 192.0.2.7", "UPSERT mail.corp.example MX 20 www.corp.example")
	ask("www.corp.example", "A", "NOERROR") // the wildcard has another type
	ask("al.corp.example", "MX", "NOERROR | MX 20 www.corp.example.")
	z.change("DELETE mail.corp.example MX 20 www.corp.example")
	ask("al.corp.example", "MX", "NOERROR")
	ask("al.corp.example", "TXT", "NOERROR") // the wildcard answers no name that exists
	got(s.consumer.acct.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &s.consumer.vpc, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(false)}})).or(t)
	ask("mail.corp.example", "MX", "SERVFAIL")
}
