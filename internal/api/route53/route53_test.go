// SPDX-License-Identifier: Apache-2.0

package route53_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"postern.dev/postern/internal/api/apitest"
	"postern.dev/postern/internal/api/route53"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// world is an API with the SDK's clients of two accounts that have VPCs.
type world struct {
	*testing.T
	c                *control.Control
	us, them         *sdk.Client
	one, two, theirs string // VPCs
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, _ := controltest.New(t)
	w := &world{T: t, c: c}
	w.us, _ = serve(t, c, controltest.Consumer)
	w.them, _ = serve(t, c, controltest.Provider)
	w.one, w.two, w.theirs = w.vpc(controltest.Consumer), w.vpc(controltest.Consumer), w.vpc(controltest.Provider)
	return w
}

func serve(t *testing.T, c *control.Control, caller control.Caller) (*sdk.Client, string) {
	url := apitest.Serve(t, &route53.Actions, route53.Parse, c, caller)
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: apitest.Client(), RetryMaxAttempts: 1, Credentials: apitest.Keys(),
	}), url
}

func (w *world) vpc(caller control.Caller) string {
	w.Helper()
	v, err := w.c.CreateVPC(w.Context(), caller, control.CreateVPCInput{CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		w.Fatal(err)
	}
	return string(v)
}

func s(v string) *string { return &v }

func region(id string) *types.VPC {
	return &types.VPC{VPCId: &id, VPCRegion: types.VPCRegionUsEast1}
}

// zone makes a zone of ours for the VPC one.
func (w *world) zone(name string) string {
	w.Helper()
	out := apitest.Must[*sdk.CreateHostedZoneOutput](w.T)(w.us.CreateHostedZone(w.Context(), &sdk.CreateHostedZoneInput{
		Name: &name, CallerReference: s("ref of " + name), VPC: region(w.one)}))
	return strings.TrimPrefix(*out.HostedZone.Id, "/hostedzone/")
}

func set(name string, t types.RRType, ttl int64, values ...string) *types.ResourceRecordSet {
	r := &types.ResourceRecordSet{Name: &name, Type: t, TTL: &ttl}
	for _, v := range values {
		r.ResourceRecords = append(r.ResourceRecords, types.ResourceRecord{Value: &v})
	}
	return r
}

func alias(name string, t types.RRType, zone, target string) *types.ResourceRecordSet {
	return &types.ResourceRecordSet{Name: &name, Type: t, AliasTarget: &types.AliasTarget{HostedZoneId: &zone, DNSName: &target}}
}

func do(action types.ChangeAction, r *types.ResourceRecordSet) types.Change {
	return types.Change{Action: action, ResourceRecordSet: r}
}

const (
	create = types.ChangeActionCreate
	remove = types.ChangeActionDelete
	upsert = types.ChangeActionUpsert
)

func (w *world) change(zone string, changes ...types.Change) error {
	_, err := w.us.ChangeResourceRecordSets(w.Context(), &sdk.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &types.ChangeBatch{Changes: changes}})
	return err
}

// names lists a zone's record sets as "name type", in the order of the answer.
func (w *world) names(zone string) []string {
	w.Helper()
	var out []string
	p := sdk.NewListResourceRecordSetsPaginator(w.us, &sdk.ListResourceRecordSetsInput{HostedZoneId: &zone, MaxItems: ptr(int32(2))})
	for p.HasMorePages() {
		for _, r := range apitest.Must[*sdk.ListResourceRecordSetsOutput](w.T)(p.NextPage(w.Context())).ResourceRecordSets {
			out = append(out, *r.Name+" "+string(r.Type))
		}
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func TestZoneFromCreationToDeletion(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	in := &sdk.CreateHostedZoneInput{Name: s("Corp.Example.COM"), CallerReference: s("once"), VPC: region(w.one), HostedZoneConfig: &types.HostedZoneConfig{Comment: s("ours")}}
	made := apitest.Must[*sdk.CreateHostedZoneOutput](t)(w.us.CreateHostedZone(ctx, in))
	z := made.HostedZone
	if *z.Name != "corp.example.com." || !z.Config.PrivateZone || *z.Config.Comment != "ours" || *z.ResourceRecordSetCount != 2 || *made.VPC.VPCId != w.one ||
		made.ChangeInfo.Status != types.ChangeStatusPending || *made.Location != "/2013-04-01"+*z.Id || made.DelegationSet != nil {
		t.Errorf("made %+v of %+v", z, made)
	}
	if id := strings.TrimPrefix(*z.Id, "/hostedzone/"); len(id) != 21 || id[0] != 'Z' || strings.ToUpper(id) != id {
		t.Errorf("the id is %q", *z.Id)
	}
	got := apitest.Must[*sdk.GetHostedZoneOutput](t)(w.us.GetHostedZone(ctx, &sdk.GetHostedZoneInput{Id: z.Id}))
	if *got.HostedZone.Id != *z.Id || len(got.VPCs) != 1 || *got.VPCs[0].VPCId != w.one || got.VPCs[0].VPCRegion != "us-east-1" {
		t.Errorf("got %+v", got)
	}
	c := apitest.Must[*sdk.GetChangeOutput](t)(w.us.GetChange(ctx, &sdk.GetChangeInput{Id: made.ChangeInfo.Id}))
	if c.ChangeInfo.Status != types.ChangeStatusInsync { // there is no host
		t.Errorf("the change is %s", c.ChangeInfo.Status)
	}
	list := apitest.Must[*sdk.ListResourceRecordSetsOutput](t)(w.us.ListResourceRecordSets(ctx, &sdk.ListResourceRecordSetsInput{HostedZoneId: z.Id})).ResourceRecordSets
	if len(list) != 2 || list[0].Type != "NS" || len(list[0].ResourceRecords) != 4 || *list[0].TTL != 172800 || list[1].Type != "SOA" || !strings.HasSuffix(*list[1].ResourceRecords[0].Value, " 1 7200 900 1209600 86400") {
		t.Errorf("its records are %+v", list)
	}

	_, err := w.us.CreateHostedZone(ctx, in)
	apitest.Refused(t, "the same reference", err, "HostedZoneAlreadyExists", 409, "caller reference")
	again := *in
	again.CallerReference = s("twice")
	_, err = w.us.CreateHostedZone(ctx, &again)
	apitest.Refused(t, "the same name in the VPC", err, "ConflictingDomainExists", 400, "has already been associated")
	_, err = w.us.CreateHostedZone(ctx, &sdk.CreateHostedZoneInput{Name: s("a.example"), CallerReference: s("public")})
	apitest.Refused(t, "a public zone", err, "InvalidInput", 400, "Public hosted zones are not supported")
	_, err = w.us.CreateHostedZone(ctx, &sdk.CreateHostedZoneInput{Name: s("a.example"), CallerReference: s("x"), VPC: region(w.theirs)})
	apitest.Refused(t, "another account's VPC", err, "InvalidVPCId", 400, w.theirs)
	_, err = w.us.CreateHostedZone(ctx, &sdk.CreateHostedZoneInput{Name: s("a.example"), CallerReference: s("x"), VPC: &types.VPC{VPCId: &w.one, VPCRegion: "eu-west-1"}})
	apitest.Refused(t, "another region", err, "InvalidVPCId", 400, "eu-west-1")
	_, err = w.us.CreateHostedZone(ctx, &sdk.CreateHostedZoneInput{Name: s("a..example"), CallerReference: s("x"), VPC: region(w.one)})
	apitest.Refused(t, "an empty label", err, "InvalidDomainName", 400, "DomainLabelEmpty")
	_, err = w.us.CreateHostedZone(ctx, &sdk.CreateHostedZoneInput{Name: s("a.example"), CallerReference: s("x"), VPC: region(w.one), DelegationSetId: s("N1")})
	apitest.Refused(t, "a delegation set", err, "InvalidInput", 400, "DelegationSetId")

	up := apitest.Must[*sdk.UpdateHostedZoneCommentOutput](t)(w.us.UpdateHostedZoneComment(ctx, &sdk.UpdateHostedZoneCommentInput{Id: z.Id, Comment: s("new")}))
	if *up.HostedZone.Config.Comment != "new" {
		t.Errorf("the comment is %+v", up.HostedZone.Config)
	}
	if n := apitest.Must[*sdk.GetHostedZoneCountOutput](t)(w.us.GetHostedZoneCount(ctx, &sdk.GetHostedZoneCountInput{})); *n.HostedZoneCount != 1 {
		t.Errorf("count %d", *n.HostedZoneCount)
	}
	_, err = w.them.GetHostedZone(ctx, &sdk.GetHostedZoneInput{Id: z.Id})
	apitest.Refused(t, "another account", err, "NoSuchHostedZone", 404, "No hosted zone found with ID")
	_, err = w.them.GetChange(ctx, &sdk.GetChangeInput{Id: made.ChangeInfo.Id})
	apitest.Refused(t, "another account's change", err, "NoSuchChange", 404, "")
	_, err = w.us.GetDNSSEC(ctx, &sdk.GetDNSSECInput{HostedZoneId: z.Id})
	apitest.Refused(t, "DNSSEC", err, "InvalidArgument", 400, "Operation is unsupported for private")

	id := strings.TrimPrefix(*z.Id, "/hostedzone/")
	www := set("www.corp.example.com", "A", 60, "10.0.0.1")
	if err := w.change(id, do(create, www)); err != nil {
		t.Fatal(err)
	}
	_, err = w.us.DeleteHostedZone(ctx, &sdk.DeleteHostedZoneInput{Id: z.Id})
	apitest.Refused(t, "records left", err, "HostedZoneNotEmpty", 400, "non-required")
	if err := w.change(id, do(remove, www)); err != nil {
		t.Fatal(err)
	}
	apitest.Must[*sdk.DeleteHostedZoneOutput](t)(w.us.DeleteHostedZone(ctx, &sdk.DeleteHostedZoneInput{Id: z.Id}))
	_, err = w.us.DeleteHostedZone(ctx, &sdk.DeleteHostedZoneInput{Id: z.Id})
	apitest.Refused(t, "once more", err, "NoSuchHostedZone", 404, "")
	apitest.Must[*sdk.CreateHostedZoneOutput](t)(w.us.CreateHostedZone(ctx, &again)) // name and VPC are free again
}

func TestRecordSetsAreListedInTheOrderOfReversedNames(t *testing.T) {
	w := newWorld(t)
	z := w.zone("example.com")
	err := w.change(z,
		do(create, set("b.example.com", "TXT", 1, `"x"`)), do(create, set("B.example.com.", "A", 1, "10.0.0.1")), do(create, set("*.b.example.com", "A", 1, "10.0.0.1")),
		do(create, set("b-2.example.com", "A", 1, "10.0.0.1")), do(create, set("z.a.example.com", "A", 1, "10.0.0.1")), do(create, set("é.example.com", "A", 1, "10.0.0.1")))
	apitest.Refused(t, "letters that are none", err, "InvalidChangeBatch", 400, "UnsupportedCharacter")
	err = w.change(z,
		do(create, set("b.example.com", "TXT", 1, `"x"`)), do(create, set("B.example.com.", "A", 1, "10.0.0.1")), do(create, set("*.b.example.com", "A", 1, "10.0.0.1")),
		do(create, set("b-2.example.com", "A", 1, "10.0.0.1")), do(create, set("z.a.example.com", "A", 1, "10.0.0.1")), do(create, set(`\052\100.example.com`, "A", 1, "10.0.0.1")))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example.com. NS", "example.com. SOA", `\052\100.example.com. A`, "z.a.example.com. A", "b-2.example.com. A", "b.example.com. A", "b.example.com. TXT", `\052.b.example.com. A`}
	// The "\" of an escape code sorts after digits and before letters.
	slices.SortFunc(want, func(a, b string) int {
		key := func(s string) string { n, t, _ := strings.Cut(s, ". "); return vpc.ReversedName(n) + " " + t }
		return strings.Compare(key(a), key(b))
	})
	if got := w.names(z); !slices.Equal(got, want) {
		t.Errorf("listed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if i, j := slices.Index(want, "b-2.example.com. A"), slices.Index(want, "b.example.com. A"); i > j {
		t.Error("a hyphen sorts before a dot")
	}
	from := apitest.Must[*sdk.ListResourceRecordSetsOutput](t)(w.us.ListResourceRecordSets(t.Context(), &sdk.ListResourceRecordSetsInput{HostedZoneId: &z, StartRecordName: s("b.example.com"), StartRecordType: "CNAME", MaxItems: ptr(int32(1))}))
	if len(from.ResourceRecordSets) != 1 || from.ResourceRecordSets[0].Type != "TXT" || *from.NextRecordName != `\052.b.example.com.` || !from.IsTruncated {
		t.Errorf("from the CNAME on: %+v", from)
	}
	_, err = w.us.ListResourceRecordSets(t.Context(), &sdk.ListResourceRecordSetsInput{HostedZoneId: &z, StartRecordType: "A"})
	apitest.Refused(t, "a type without a name", err, "InvalidInput", 400, "name")
}

// What every change of a batch can have wrong. Nothing of such a batch is made.
func TestBatchesThatAreRefusedChangeNothing(t *testing.T) {
	w := newWorld(t)
	z := w.zone("example.com")
	here := set("here.example.com", "A", 60, "10.0.0.1", "10.0.0.2")
	if err := w.change(z, do(create, here), do(create, set("c.example.com", "CNAME", 60, "here.example.com")), do(create, alias("to.example.com", "A", z, "here.example.com"))); err != nil {
		t.Fatal(err)
	}
	before := w.names(z)
	long := strings.Repeat("a", 64)
	many := make([]string, 401)
	for i := range many {
		many[i] = fmt.Sprintf("10.1.%d.%d", i/256, i%256)
	}
	var thousand []types.Change
	for i := range 1001 {
		thousand = append(thousand, do(create, set(fmt.Sprintf("n%d.example.com", i), "A", 60, "10.0.0.1")))
	}
	weighted := set("w.example.com", "A", 60, "10.0.0.1")
	weighted.SetIdentifier, weighted.Weight = s("one"), ptr(int64(1))
	neither := &types.ResourceRecordSet{Name: s("n.example.com"), Type: "A"}
	both := alias("n.example.com", "A", z, "here.example.com")
	both.TTL, both.ResourceRecords = ptr(int64(1)), []types.ResourceRecord{{Value: s("10.0.0.1")}}
	const invalid = "InvalidChangeBatch"
	for name, tc := range map[string]struct {
		code, piece string
		changes     []types.Change
	}{
		"exists":          {invalid, "[Tried to create resource record set [name='here.example.com.', type='A'] but it already exists]", []types.Change{do(create, here)}},
		"not there":       {invalid, "[Tried to delete resource record set [name='no.example.com.', type='A'] but it was not found]", []types.Change{do(remove, set("no.example.com", "A", 60, "10.0.0.1"))}},
		"other values":    {invalid, "but the values provided do not match the current values", []types.Change{do(remove, set("here.example.com", "A", 60, "10.0.0.1"))}},
		"another TTL":     {invalid, "but the values provided do not match the current values", []types.Change{do(remove, set("here.example.com", "A", 61, "10.0.0.1", "10.0.0.2"))}},
		"another zone":    {invalid, "RRSet with DNS name www.example.org. is not permitted in zone example.com.", []types.Change{do(create, set("www.example.org", "A", 60, "10.0.0.1"))}},
		"only a suffix":   {invalid, "is not permitted in zone example.com.", []types.Change{do(create, set("notexample.com", "A", 60, "10.0.0.1"))}},
		"CNAME at apex":   {invalid, "RRSet of type CNAME with DNS name example.com. is not permitted at apex in zone example.com.", []types.Change{do(create, set("example.com", "CNAME", 60, "a.example"))}},
		"CNAME beside":    {invalid, "RRSet of type CNAME with DNS name here.example.com. is not permitted as it conflicts with other records", []types.Change{do(create, set("here.example.com", "CNAME", 60, "a.example"))}},
		"beside CNAME":    {invalid, "RRSet of type A with DNS name c.example.com. is not permitted because a conflicting RRSet of type CNAME", []types.Change{do(upsert, set("c.example.com", "A", 60, "10.0.0.1"))}},
		"SOA below":       {invalid, "RRSet of type SOA", []types.Change{do(create, set("a.example.com", "SOA", 60, "a. b. 1 2 3 4 5"))}},
		"wildcard NS":     {invalid, "a wildcard cannot have NS records", []types.Change{do(create, set("*.example.com", "NS", 60, "a.example"))}},
		"no NS":           {invalid, "A HostedZone must contain at least one NS record for the zone itself.", []types.Change{do(remove, set("example.com", "NS", 172800, vpc.ZoneServers()...))}},
		"twice":           {invalid, "The request contains an invalid set of changes for a resource record set 'A t.example.com.'", []types.Change{do(create, set("t.example.com", "A", 60, "10.0.0.1")), do(upsert, set("T.example.com", "A", 60, "10.0.0.2"))}},
		"the same value":  {invalid, "Duplicate Resource Record: '10.0.0.1'", []types.Change{do(create, set("d.example.com", "A", 60, "10.0.0.1", "10.0.0.1"))}},
		"the same text":   {invalid, "Duplicate Resource Record", []types.Change{do(create, set("d.example.com", "MX", 60, "1 a.example", "01 A.example."))}},
		"an address":      {invalid, "[Invalid Resource Record: 'FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with 'nine'']", []types.Change{do(create, set("d.example.com", "A", 60, "nine"))}},
		"no quotes":       {invalid, "InvalidCharacterString (Value should be enclosed in quotation marks) encountered with 'text'", []types.Change{do(create, set("d.example.com", "TXT", 60, "text"))}},
		"a long label":    {invalid, "DomainLabelTooLong", []types.Change{do(create, set(long+".example.com", "A", 60, "10.0.0.1"))}},
		"two CNAMEs":      {invalid, "must have exactly one resource record", []types.Change{do(create, set("d.example.com", "CNAME", 60, "a.example", "b.example"))}},
		"401 records":     {invalid, "at most 400", []types.Change{do(create, set("d.example.com", "A", 60, many...))}},
		"1,001 changes":   {invalid, "Number of records limit of 1000 exceeded.", thousand},
		"501 upserts":     {invalid, "Number of records limit of 1000 exceeded.", upserts(thousand[:501])},
		"32,001 letters":  {invalid, "Number of characters limit of 32000 exceeded.", []types.Change{do(create, set("d.example.com", "TXT", 60, slices.Repeat([]string{`"` + strings.Repeat("x", 3500) + `"`}, 10)...))}},
		"alias to none":   {invalid, "Tried to create an alias that targets no.example.com., type A in zone " + z + ", but that target was not found", []types.Change{do(create, alias("d.example.com", "A", z, "no.example.com"))}},
		"alias of AAAA":   {invalid, "but that target was not found", []types.Change{do(create, alias("d.example.com", "AAAA", z, "here.example.com"))}},
		"alias outside":   {invalid, "but the alias target name does not lie within the target zone", []types.Change{do(create, alias("d.example.com", "A", z, "www.example.org"))}},
		"alias elsewhere": {invalid, "that zone is neither this one", []types.Change{do(create, alias("d.example.com", "A", "Z2FDTNDATAQYW2", "www.example.org"))}},
		"alias to itself": {invalid, "leads back to the alias", []types.Change{do(create, alias("d.example.com", "A", z, "d.example.com"))}},
		"a circle":        {invalid, "leads back to the alias", []types.Change{do(upsert, alias("here.example.com", "A", z, "to.example.com"))}},
		"alias of NS":     {invalid, "cannot be an alias", []types.Change{do(create, alias("d.example.com", "NS", z, "example.com"))}},
		"a balancer":      {invalid, "but that target was not found", []types.Change{do(create, alias("d.example.com", "A", string(vpc.BalancerZoneID(w.c.Region())), "x-0123456789abcdef.elb.us-east-1.amazonaws.com"))}},
		"an endpoint":     {invalid, "but that target was not found", []types.Change{do(create, alias("d.example.com", "A", string(vpc.EndpointZoneID(w.c.Region())), "vpce-0123456789abcdef0-x.s3.us-east-1.vpce.amazonaws.com"))}},
		"weighted":        {"InvalidInput", "SetIdentifier", []types.Change{do(create, weighted)}},
		"neither":         {"InvalidInput", "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found none", []types.Change{do(create, neither)}},
		"both":            {"InvalidInput", "but found more than one", []types.Change{do(create, both)}},
		"a TTL":           {"InvalidInput", "TTL", []types.Change{do(create, set("d.example.com", "A", 1<<31, "10.0.0.1"))}},
		"a type":          {"InvalidInput", "Type", []types.Change{do(create, set("d.example.com", "LOC", 60, "x"))}},
	} {
		t.Run(name, func(t *testing.T) {
			// A good change with each: it is not made either.
			batch := append([]types.Change{do(create, set("good.example.com", "A", 60, "10.0.0.9"))}, tc.changes...)
			apitest.Refused(t, name, w.change(z, batch...), tc.code, 400, tc.piece)
		})
	}
	if got := w.names(z); !slices.Equal(got, before) {
		t.Errorf("the zone has now\n%s", strings.Join(got, "\n"))
	}
	if got := apitest.Must[*sdk.GetHostedZoneOutput](t)(w.us.GetHostedZone(t.Context(), &sdk.GetHostedZoneInput{Id: &z})); *got.HostedZone.ResourceRecordSetCount != int64(len(before)) {
		t.Errorf("it counts %d", *got.HostedZone.ResourceRecordSetCount)
	}
}

func upserts(list []types.Change) []types.Change {
	out := slices.Clone(list)
	for i := range out {
		out[i].Action = upsert
	}
	return out
}

// All of a batch is done at once: what replaces one another may come in either
// order, and what an alias leads to may be made beside it.
func TestABatchIsJudgedByWhatItLeaves(t *testing.T) {
	w := newWorld(t)
	z := w.zone("example.com")
	ok := func(what string, changes ...types.Change) {
		t.Helper()
		if err := w.change(z, changes...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	a, cname := set("x.example.com", "A", 60, "10.0.0.1"), set("x.example.com", "CNAME", 60, "y.example.com")
	ok("made", do(create, a))
	ok("a CNAME instead", do(create, cname), do(remove, a))
	ok("replaced", do(remove, set("X.example.com", "CNAME", 60, "Y.EXAMPLE.com.")), do(create, a))
	ok("replaced with others", do(remove, a), do(create, set("x.example.com", "A", 30, "10.0.0.2", "10.0.0.3")))
	ok("deleted in another order", do(remove, set("x.example.com", "A", 30, "10.0.0.3", "10.0.0.2")))
	ok("alias first", do(create, alias("al.example.com", "A", z, "x.example.com")), do(create, a))
	ok("SOA and NS changed", do(upsert, set("example.com", "SOA", 1, "ns. admin. 1 2 3 4 5")), do(upsert, set("example.com", "NS", 1, "ns.example.net")))
	var thousand []types.Change
	for i := range 1000 {
		thousand = append(thousand, do(create, set(fmt.Sprintf("n%d.example.com", i), "A", 60, "10.0.0.1")))
	}
	ok("1,000 at once", thousand...)
	if got := w.names(z); len(got) != 1004 {
		t.Errorf("%d record sets", len(got))
	}
}

func TestZonesAreAssociatedWithVPCsOfTwoAccounts(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	z := w.zone("example.com")
	associate := func(c *sdk.Client, id string) error {
		_, err := c.AssociateVPCWithHostedZone(ctx, &sdk.AssociateVPCWithHostedZoneInput{HostedZoneId: &z, VPC: region(id), Comment: s("why")})
		return err
	}
	disassociate := func(c *sdk.Client, id string) error {
		_, err := c.DisassociateVPCFromHostedZone(ctx, &sdk.DisassociateVPCFromHostedZoneInput{HostedZoneId: &z, VPC: region(id)})
		return err
	}
	authorize := func() {
		t.Helper()
		apitest.Must[*sdk.CreateVPCAssociationAuthorizationOutput](t)(w.us.CreateVPCAssociationAuthorization(ctx, &sdk.CreateVPCAssociationAuthorizationInput{HostedZoneId: &z, VPC: region(w.theirs)}))
	}
	apitest.Refused(t, "the last", disassociate(w.us, w.one), "LastVPCAssociation", 400, "last VPC")
	apitest.Refused(t, "not associated", disassociate(w.us, w.two), "VPCAssociationNotFound", 404, w.two)
	if err := associate(w.us, w.two); err != nil {
		t.Fatal(err)
	}
	apitest.Refused(t, "twice", associate(w.us, w.two), "ConflictingDomainExists", 400, z)
	apitest.Refused(t, "not ours", associate(w.us, w.theirs), "InvalidVPCId", 400, w.theirs)
	apitest.Refused(t, "not authorised", associate(w.them, w.theirs), "NotAuthorizedException", 401, "not authorized to make the association")
	_, err := w.them.CreateVPCAssociationAuthorization(ctx, &sdk.CreateVPCAssociationAuthorizationInput{HostedZoneId: &z, VPC: region(w.theirs)})
	apitest.Refused(t, "authorised by another", err, "NoSuchHostedZone", 404, z)
	authorize()
	authorize()
	if err := associate(w.them, w.theirs); err != nil {
		t.Fatal(err)
	}
	byVPC := apitest.Must[*sdk.ListHostedZonesByVPCOutput](t)(w.them.ListHostedZonesByVPC(ctx, &sdk.ListHostedZonesByVPCInput{VPCId: &w.theirs, VPCRegion: "us-east-1"}))
	if got := byVPC.HostedZoneSummaries; len(got) != 1 || *got[0].HostedZoneId != z || *got[0].Name != "example.com." || *got[0].Owner.OwningAccount != string(controltest.Consumer.Account) {
		t.Errorf("their VPC has %+v", got)
	}
	_, err = w.us.ListHostedZonesByVPC(ctx, &sdk.ListHostedZonesByVPCInput{VPCId: &w.theirs, VPCRegion: "us-east-1"})
	apitest.Refused(t, "another account's VPC", err, "InvalidVPCId", 400, "")
	authorized := apitest.Must[*sdk.ListVPCAssociationAuthorizationsOutput](t)(w.us.ListVPCAssociationAuthorizations(ctx, &sdk.ListVPCAssociationAuthorizationsInput{HostedZoneId: &z}))
	if len(authorized.VPCs) != 1 || *authorized.VPCs[0].VPCId != w.theirs || authorized.NextToken != nil {
		t.Errorf("authorised %+v", authorized)
	}
	apitest.Must[*sdk.DeleteVPCAssociationAuthorizationOutput](t)(w.us.DeleteVPCAssociationAuthorization(ctx, &sdk.DeleteVPCAssociationAuthorizationInput{HostedZoneId: &z, VPC: region(w.theirs)}))
	_, err = w.us.DeleteVPCAssociationAuthorization(ctx, &sdk.DeleteVPCAssociationAuthorizationInput{HostedZoneId: &z, VPC: region(w.theirs)})
	apitest.Refused(t, "once more", err, "VPCAssociationAuthorizationNotFound", 404, "")
	apitest.Refused(t, "somebody else's", disassociate(w.them, w.one), "NoSuchHostedZone", 404, z)
	if err := disassociate(w.them, w.theirs); err != nil {
		t.Error(err)
	}
	apitest.Refused(t, "no longer authorised", associate(w.them, w.theirs), "NotAuthorizedException", 401, "")
	if err := w.c.DeleteVPC(ctx, controltest.Consumer, vpc.VPCID(w.two)); err != nil {
		t.Errorf("a VPC with an association can be deleted: %v", err)
	}
	if err := disassociate(w.us, w.two); err != nil {
		t.Errorf("and the association goes: %v", err)
	}
	for token, code := range map[string]string{"x": "InvalidPaginationToken", "ZnJvbTpB": ""} {
		_, err := w.us.ListHostedZonesByVPC(ctx, &sdk.ListHostedZonesByVPCInput{VPCId: &w.one, VPCRegion: "us-east-1", NextToken: &token})
		if code != "" {
			apitest.Refused(t, token, err, code, 400, "nexttoken")
		} else if err != nil {
			t.Error(err)
		}
	}
}

func TestZonesAreListedByIDAndByName(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, n := range []string{"b.example.com", "example.com", "a.example.com", "example.org"} {
		w.zone(n)
	}
	var ids []string
	p := sdk.NewListHostedZonesPaginator(w.us, &sdk.ListHostedZonesInput{MaxItems: ptr(int32(3)), HostedZoneType: "PrivateHostedZone"})
	for p.HasMorePages() {
		for _, z := range apitest.Must[*sdk.ListHostedZonesOutput](t)(p.NextPage(ctx)).HostedZones {
			ids = append(ids, *z.Id)
		}
	}
	if len(ids) != 4 || !slices.IsSorted(ids) {
		t.Errorf("listed %v", ids)
	}
	var names []string
	in := &sdk.ListHostedZonesByNameInput{MaxItems: ptr(int32(1))}
	for {
		out := apitest.Must[*sdk.ListHostedZonesByNameOutput](t)(w.us.ListHostedZonesByName(ctx, in))
		for _, z := range out.HostedZones {
			names = append(names, *z.Name)
		}
		if !out.IsTruncated {
			break
		}
		in.DNSName, in.HostedZoneId = out.NextDNSName, out.NextHostedZoneId
	}
	if got := strings.Join(names, " "); got != "example.com. a.example.com. b.example.com. example.org." {
		t.Errorf("by name: %s", got)
	}
	if out := apitest.Must[*sdk.ListHostedZonesByNameOutput](t)(w.us.ListHostedZonesByName(ctx, &sdk.ListHostedZonesByNameInput{DNSName: s("A.example.com")})); len(out.HostedZones) != 3 {
		t.Errorf("from a name on: %+v", out.HostedZones)
	}
	_, err := w.us.ListHostedZonesByName(ctx, &sdk.ListHostedZonesByNameInput{HostedZoneId: s("Z1")})
	apitest.Refused(t, "an id without a name", err, "InvalidInput", 400, "dnsname")
	_, err = w.us.ListHostedZones(ctx, &sdk.ListHostedZonesInput{MaxItems: ptr(int32(0))})
	apitest.Refused(t, "no items", err, "InvalidInput", 400, "maxitems")
	_, err = w.us.ListHostedZones(ctx, &sdk.ListHostedZonesInput{DelegationSetId: s("N1")})
	apitest.Refused(t, "a delegation set", err, "InvalidInput", 400, "delegationsetid")
}

func TestZonesHaveTags(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	z := w.zone("example.com")
	tag := func(add []types.Tag, remove ...string) error {
		_, err := w.us.ChangeTagsForResource(ctx, &sdk.ChangeTagsForResourceInput{ResourceType: "hostedzone", ResourceId: &z, AddTags: add, RemoveTagKeys: remove})
		return err
	}
	if err := tag([]types.Tag{{Key: s("a"), Value: s("1")}, {Key: s("b"), Value: s("")}}); err != nil {
		t.Fatal(err)
	}
	if err := tag([]types.Tag{{Key: s("a"), Value: s("2")}}, "b", "none"); err != nil {
		t.Fatal(err)
	}
	one := apitest.Must[*sdk.ListTagsForResourceOutput](t)(w.us.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceType: "hostedzone", ResourceId: &z})).ResourceTagSet
	if len(one.Tags) != 1 || *one.Tags[0].Key != "a" || *one.Tags[0].Value != "2" || *one.ResourceId != z {
		t.Errorf("tags %+v", one)
	}
	many := apitest.Must[*sdk.ListTagsForResourcesOutput](t)(w.us.ListTagsForResources(ctx, &sdk.ListTagsForResourcesInput{ResourceType: "hostedzone", ResourceIds: []string{z}})).ResourceTagSets
	if len(many) != 1 || len(many[0].Tags) != 1 {
		t.Errorf("tags %+v", many)
	}
	apitest.Refused(t, "none", tag(nil), "InvalidInput", 400, "AddTags")
	apitest.Refused(t, "AWS's own", tag([]types.Tag{{Key: s("aws:x"), Value: s("")}}), "InvalidInput", 400, "reserved")
	apitest.Refused(t, "both", tag([]types.Tag{{Key: s("a"), Value: s("")}}, "a"), "InvalidInput", 400, "both")
	var eleven []types.Tag
	for i := range 11 {
		eleven = append(eleven, types.Tag{Key: s(fmt.Sprint("k", i)), Value: s("")})
	}
	apitest.Refused(t, "eleven", tag(eleven), "InvalidInput", 400, "10")
	_, err := w.us.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceType: "healthcheck", ResourceId: s("x")})
	apitest.Refused(t, "a health check", err, "InvalidInput", 400, "ResourceType")
	_, err = w.them.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceType: "hostedzone", ResourceId: &z})
	apitest.Refused(t, "another account", err, "NoSuchHostedZone", 404, z)
}

func TestWhatIsNotHereIsRefusedByName(t *testing.T) {
	w := newWorld(t)
	_, err := w.us.ListHealthChecks(t.Context(), &sdk.ListHealthChecksInput{})
	apitest.Refused(t, "health checks", err, "InvalidAction", 400, "GET /2013-04-01/healthcheck")
	_, url := serve(t, w.c, controltest.Consumer)
	for name, tc := range map[string]struct{ method, path, body, piece string }{
		"an unknown element":   {"POST", "/2013-04-01/hostedzone", `<CreateHostedZoneRequest><Name>a.example</Name><CallerReference>x</CallerReference><Colour>red</Colour></CreateHostedZoneRequest>`, "Colour is not recognized"},
		"an element in a list": {"POST", "/2013-04-01/hostedzone/Z1/rrset", `<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Fix/></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`, "Changes.Fix.1"},
		"an empty change":      {"POST", "/2013-04-01/hostedzone/Z1/rrset", `<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Change/></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`, "the element is empty"},
		"another root":         {"POST", "/2013-04-01/hostedzone", `<CreateZoneRequest/>`, "CreateHostedZoneRequest"},
		"no XML":               {"POST", "/2013-04-01/hostedzone", `{"Name": 1}`, "one root"},
		"a document type":      {"POST", "/2013-04-01/hostedzone", `<!DOCTYPE a [<!ENTITY b "c">]><CreateHostedZoneRequest><Name>&b;</Name></CreateHostedZoneRequest>`, "document type"},
		"a name twice":         {"POST", "/2013-04-01/hostedzone", `<CreateHostedZoneRequest><Name>a</Name><Name>b</Name></CreateHostedZoneRequest>`, "duplicate parameter"},
		"too deep":             {"POST", "/2013-04-01/hostedzone", strings.Repeat("<a>", 100), "too deeply"},
		"an id in the query":   {"GET", "/2013-04-01/hostedzone/Z1?Id=Z2", "", "duplicate parameter"},
	} {
		r, err := http.NewRequest(tc.method, url+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := apitest.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 400 || !strings.Contains(string(b), tc.piece) {
			t.Errorf("%s: %d %s, want %q", name, res.StatusCode, b, tc.piece)
		}
	}
	// Botocore's paths have a slash at their end.
	res, err := apitest.Client().Get(url + "/2013-04-01/hostedzone/Z1/rrset/")
	if err != nil || res.StatusCode != 404 {
		t.Errorf("a slash at the end: %v, %v", res, err)
	}
}
