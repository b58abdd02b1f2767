// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

const (
	everything = `"Effect":"Allow","Action":"*","Resource":"*"`
	identify   = "Action=GetCallerIdentity&Version=2011-06-15"
)

func TestEachPrincipalLearnsWhoItIs(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	arn := in.role(consumerRoot, "build", trusting(`{"AWS":"111111111111"}`), "")
	session := in.assume(ann, arn, "job-1")
	token, err := in.sts(ann).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who              identity
		arn, start, ends string
	}{
		{consumerRoot, "arn:aws:iam::111111111111:root", "111111111111", "111111111111"},
		{ann, "arn:aws:iam::111111111111:user/ann", "AIDA", ""},
		{session, "arn:aws:sts::111111111111:assumed-role/build/job-1", "AROA", ":job-1"},
		{in.session(token.Credentials), "arn:aws:iam::111111111111:user/ann", "AIDA", ""},
	} {
		out, err := in.sts(c.who).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
		if err != nil {
			t.Errorf("%s: %v", c.arn, err)
			continue
		}
		if *out.Arn != c.arn || *out.Account != "111111111111" || !strings.HasPrefix(*out.UserId, c.start) || !strings.HasSuffix(*out.UserId, c.ends) {
			t.Errorf("%s: %s %s %s", c.arn, *out.Arn, *out.Account, *out.UserId)
		}
	}
	if !strings.HasPrefix(session.id, "ASIA") || !strings.HasPrefix(ann.id, "AKIA") {
		t.Errorf("keys %s %s", session.id, ann.id)
	}
}

func TestUserMayDoWhatAPolicyAllowsAndNoMore(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", "")
	client := in.ec2(ann)
	describe := func() error {
		_, err := client.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{})
		return err
	}
	create := func(dry bool, tags ...string) (string, error) {
		req := &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: &dry}
		if len(tags) > 0 {
			spec := ec2types.TagSpecification{ResourceType: "vpc"}
			for i := 0; i < len(tags); i += 2 {
				spec.Tags = append(spec.Tags, ec2types.Tag{Key: &tags[i], Value: &tags[i+1]})
			}
			req.TagSpecifications = []ec2types.TagSpecification{spec}
		}
		out, err := client.CreateVpc(t.Context(), req)
		if err != nil {
			return "", err
		}
		return *out.Vpc.VpcId, nil
	}
	refused(t, "no policy", describe(), "UnauthorizedOperation", "You are not authorized to perform this operation.",
		"User: arn:aws:iam::111111111111:user/ann is not authorized to perform: ec2:DescribeVpcs on resource: *",
		"because no identity-based policy allows the ec2:DescribeVpcs action")

	in.allow("ann", allowing(`"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"`))
	ok(t, "allowed", describe())
	_, err := create(true)
	refused(t, "dry run of what is not allowed", err, "UnauthorizedOperation", "ec2:CreateVpc on resource: arn:aws:ec2:us-east-1:111111111111:vpc/*")

	in.allow("ann", allowing(`"Effect":"Allow","Action":"ec2:CreateVpc","Resource":"arn:aws:ec2:*:*:vpc/*"`))
	refused(t, "no longer allowed", describe(), "UnauthorizedOperation")
	_, err = create(true)
	refused(t, "dry run of what is allowed", err, "DryRunOperation")
	_, err = create(false)
	ok(t, "create", err)
	_, err = create(true, "team", "red")
	refused(t, "tags need CreateTags", err, "UnauthorizedOperation", "ec2:CreateTags on resource: arn:aws:ec2:us-east-1:111111111111:vpc/*")

	in.allow("ann", allowing(`"Effect":"Allow","Action":"ec2:CreateVpc","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"red"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}`,
		`"Effect":"Allow","Action":"ec2:CreateTags","Resource":"*","Condition":{"StringEquals":{"ec2:CreateAction":"CreateVpc"}}`,
		`"Effect":"Allow","Action":"ec2:DeleteVpc","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}`))
	_, err = create(false)
	refused(t, "without the tag", err, "UnauthorizedOperation")
	_, err = create(false, "team", "blue")
	refused(t, "another value", err, "UnauthorizedOperation")
	_, err = create(false, "team", "red", "more", "x")
	refused(t, "another key", err, "UnauthorizedOperation")
	red, err := create(false, "team", "red")
	ok(t, "with the tag", err)
	_, err = client.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{red}, Tags: []ec2types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}})
	refused(t, "CreateTags itself", err, "UnauthorizedOperation", red)

	plain, err := in.ec2(consumerRoot).CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.2.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.DeleteVpc(t.Context(), &awsec2.DeleteVpcInput{VpcId: plain.Vpc.VpcId})
	refused(t, "delete what has no tag", err, "UnauthorizedOperation", "vpc/"+*plain.Vpc.VpcId)
	_, err = client.DeleteVpc(t.Context(), &awsec2.DeleteVpcInput{VpcId: &red})
	ok(t, "delete what has the tag", err)
}

func TestServiceNameConditionsHoldForEndpoints(t *testing.T) {
	in := newInstallation(t)
	made, err := in.ec2(consumerRoot).CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	bob := in.user("bob", allowing(`"Effect":"Allow","Action":"ec2:*","Resource":"*"`,
		`"Effect":"Deny","Action":"ec2:CreateVpcEndpoint","Resource":"arn:aws:ec2:*:*:vpc-endpoint/*","Condition":{"StringNotEquals":{"ec2:VpceServiceName":"com.amazonaws.us-east-1.s3"}}`,
		`"Effect":"Deny","Action":"ec2:CreateVpcEndpoint","Resource":"arn:aws:ec2:*:*:vpc-endpoint/*","Condition":{"StringNotEquals":{"ec2:VpceServiceOwner":"amazon"}}`))
	create := func(service string) error {
		_, err := in.ec2(bob).CreateVpcEndpoint(t.Context(), &awsec2.CreateVpcEndpointInput{VpcId: made.Vpc.VpcId, ServiceName: &service})
		return err
	}
	refused(t, "another service", create("com.amazonaws.us-east-1.dynamodb"), "UnauthorizedOperation", "with an explicit deny in an identity-based policy", "vpc-endpoint/*")
	ok(t, "the service", create("com.amazonaws.us-east-1.s3"))
}

func TestSessionIsItsRoleNarrowedByItsPolicy(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(`"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::111111111111:role/reader"`))
	reader := in.role(consumerRoot, "reader", trusting(`{"AWS":"arn:aws:iam::111111111111:root"}`), allowing(`"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"`))
	describe := func(who identity) (error, error) {
		_, vpcs := in.ec2(who).DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{})
		_, subnets := in.ec2(who).DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{})
		return vpcs, subnets
	}
	vpcs, _ := describe(ann)
	refused(t, "the user itself", vpcs, "UnauthorizedOperation")

	whole := in.assume(ann, reader, "whole")
	vpcs, subnets := describe(whole)
	ok(t, "role", vpcs)
	ok(t, "role", subnets)
	_, err := in.ec2(whole).CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	refused(t, "beyond the role", err, "UnauthorizedOperation", "User: arn:aws:sts::111111111111:assumed-role/reader/whole is not")

	narrow := in.assume(ann, reader, "narrow", func(r *awssts.AssumeRoleInput) {
		r.Policy = aws.String(allowing(`"Effect":"Allow","Action":["ec2:DescribeVpcs","ec2:CreateVpc"],"Resource":"*"`))
	})
	vpcs, subnets = describe(narrow)
	ok(t, "narrowed", vpcs)
	refused(t, "narrowed", subnets, "UnauthorizedOperation", "because no session policy allows the ec2:DescribeSubnets action")
	_, err = in.ec2(narrow).CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	refused(t, "a session policy adds nothing", err, "UnauthorizedOperation", "no identity-based policy")

	// What the role loses, its sessions lose.
	if _, err := in.iam(consumerRoot).DeleteRolePolicy(t.Context(), &awsiam.DeleteRolePolicyInput{RoleName: aws.String("reader"), PolicyName: aws.String("p")}); err != nil {
		t.Fatal(err)
	}
	vpcs, _ = describe(whole)
	refused(t, "role without policy", vpcs, "UnauthorizedOperation")
}

func TestTrustPolicyDecidesWhoAssumes(t *testing.T) {
	in := newInstallation(t)
	may := allowing(`"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"`)
	ann, bob := in.user("ann", may), in.user("bob", "")
	eve := in.user("eve", allowing(everything, `"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"`))
	const account, annARN = `{"AWS":"111111111111"}`, `{"AWS":"arn:aws:iam::111111111111:user/ann"}`
	roles := map[string]string{
		"account": in.role(consumerRoot, "account", trusting(account), ""),
		"ann":     in.role(consumerRoot, "ann", trusting(annARN), ""),
		"bob":     in.role(consumerRoot, "bob", trusting(`{"AWS":"arn:aws:iam::111111111111:user/bob"}`), ""),
		"all":     in.role(consumerRoot, "all", trusting(`"*"`), ""),
		"abroad":  in.role(providerRoot, "abroad", trusting(account), ""),
		"foreign": in.role(providerRoot, "foreign", trusting(`"*"`), ""),
		"unknown": "arn:aws:iam::222222222222:role/unknown",
		"secret": in.role(providerRoot, "secret", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":`+account+`,
			"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"one two"}}}]}`, ""),
		"service": in.role(consumerRoot, "service", trusting(`{"Service":"ec2.amazonaws.com"}`), ""),
	}
	for _, c := range []struct {
		role          string
		ann, bob, eve bool
	}{
		{"account", true, false, false}, // leaves it to the callers' policies
		{"ann", true, false, false},
		{"bob", false, true, false}, // needs no policy of bob's
		{"all", true, true, false},
		{"abroad", true, false, false}, // between accounts both must allow it
		{"foreign", true, false, false},
		{"unknown", false, false, false},
		{"secret", false, false, false},
		{"service", false, false, false},
	} {
		for name, want := range map[string]bool{"ann": c.ann, "bob": c.bob, "eve": c.eve} {
			who := map[string]identity{"ann": ann, "bob": bob, "eve": eve}[name]
			arn := roles[c.role]
			out, err := in.sts(who).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("job")})
			if want {
				ok(t, name+" assumes "+c.role, err)
				continue
			}
			refused(t, name+" assumes "+c.role, err, "AccessDenied", "User: arn:aws:iam::111111111111:user/"+name+" is not authorized to perform: sts:AssumeRole on resource: "+arn)
			if out != nil {
				t.Errorf("credentials beside the error")
			}
		}
	}
	external := func(id string) error {
		_, err := in.sts(ann).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String(roles["secret"]), RoleSessionName: aws.String("job"), ExternalId: &id})
		return err
	}
	refused(t, "an external id with a space", external("one two"), "ValidationError", "externalId")
	if _, err := in.iam(providerRoot).UpdateAssumeRolePolicy(t.Context(), &awsiam.UpdateAssumeRolePolicyInput{RoleName: aws.String("secret"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"one-two"}}}]}`)}); err != nil {
		t.Fatal(err)
	}
	refused(t, "a wrong external id", external("one-three"), "AccessDenied")
	ok(t, "the external id", external("one-two"))

	_, err := in.sts(consumerRoot).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String(roles["all"]), RoleSessionName: aws.String("job")})
	refused(t, "root", err, "AccessDenied", "Roles may not be assumed by root accounts")

	// A session may assume a role that trusts its role, for an hour at most.
	first := in.assume(ann, roles["account"], "first")
	next := in.role(consumerRoot, "next", trusting(`{"AWS":"`+roles["account"]+`"}`), "")
	chained := in.assume(first, next, "second")
	who, err := in.sts(chained).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != "arn:aws:sts::111111111111:assumed-role/next/second" {
		t.Errorf("chained: %v %v", who, err)
	}
	if _, err := in.iam(consumerRoot).UpdateRole(t.Context(), &awsiam.UpdateRoleInput{RoleName: aws.String("next"), MaxSessionDuration: aws.Int32(7200)}); err != nil {
		t.Fatal(err)
	}
	_, err = in.sts(first).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: &next, RoleSessionName: aws.String("long"), DurationSeconds: aws.Int32(3601)})
	refused(t, "a long session of a session", err, "ValidationError", "role chaining")
	_, err = in.sts(bob).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: &next, RoleSessionName: aws.String("job")})
	refused(t, "a user for the role", err, "AccessDenied")
}

func TestSessionParametersAreBounded(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	arn := in.role(consumerRoot, "build", trusting(`"*"`), "")
	if _, err := in.iam(consumerRoot).UpdateRole(t.Context(), &awsiam.UpdateRoleInput{RoleName: aws.String("build"), MaxSessionDuration: aws.Int32(7200)}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*awssts.AssumeRoleInput)
		code   string
		piece  string
	}{
		"short":           {func(r *awssts.AssumeRoleInput) { r.DurationSeconds = aws.Int32(899) }, "ValidationError", "durationSeconds"},
		"zero":            {func(r *awssts.AssumeRoleInput) { r.DurationSeconds = aws.Int32(0) }, "ValidationError", "durationSeconds"},
		"long":            {func(r *awssts.AssumeRoleInput) { r.DurationSeconds = aws.Int32(43201) }, "ValidationError", "durationSeconds"},
		"over the role's": {func(r *awssts.AssumeRoleInput) { r.DurationSeconds = aws.Int32(7201) }, "ValidationError", "MaxSessionDuration"},
		"bad name":        {func(r *awssts.AssumeRoleInput) { r.RoleSessionName = aws.String("a b") }, "ValidationError", "roleSessionName"},
		"no policy":       {func(r *awssts.AssumeRoleInput) { r.Policy = aws.String("{}") }, "MalformedPolicyDocument", "Statement"},
		"long policy": {func(r *awssts.AssumeRoleInput) {
			r.Policy = aws.String(strings.Repeat(" ", 2000) + allowing(everything))
		}, "PackedPolicyTooLarge", "2048"},
		"tags": {func(r *awssts.AssumeRoleInput) {
			r.Tags = []ststypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}}
		}, "ValidationError", "Tags"},
		"identity": {func(r *awssts.AssumeRoleInput) { r.SourceIdentity = aws.String("ann") }, "ValidationError", "SourceIdentity"},
	} {
		req := &awssts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("job")}
		c.change(req)
		_, err := in.sts(ann).AssumeRole(t.Context(), req)
		refused(t, name, err, c.code, c.piece)
	}
	out, err := in.sts(ann).AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("job"), DurationSeconds: aws.Int32(7200)})
	if err != nil {
		t.Fatal(err)
	}
	if left := out.Credentials.Expiration.Sub(in.clock.Now()); left > 2*time.Hour || left < 2*time.Hour-time.Second {
		t.Errorf("expires in %s", left)
	}
	// The longest session policy there can be makes a token that is accepted.
	wide := allowing(`"Effect":"Allow","Action":"*","Resource":["*","arn:aws:` + strings.Repeat("é", 1900) + `"]`)
	long := in.assume(ann, arn, "wide", func(r *awssts.AssumeRoleInput) { r.Policy = &wide })
	_, err = in.sts(long).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	ok(t, "a long token", err)
}

func TestTokenMustBelongToItsKey(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	arn := in.role(consumerRoot, "build", trusting(`"*"`), allowing(everything))
	one, two := in.assume(ann, arn, "one"), in.assume(ann, arn, "two")
	broken := one.token[:len(one.token)-3] + "AAA"
	const vpcs = "Action=DescribeVpcs&Version=2016-11-15"
	for name, who := range map[string]identity{
		"no token":                {one.id, one.secret, ""},
		"another session's":       {one.id, one.secret, two.token},
		"a broken one":            {one.id, one.secret, broken},
		"no base64":               {one.id, one.secret, "%%%"},
		"a token for a user":      {ann.id, ann.secret, one.token},
		"a secret of another":     {one.id, two.secret, one.token},
		"an unknown key":          {"ASIAUNKNOWN000000000", one.secret, one.token},
		"too long":                {one.id, one.secret, strings.Repeat("A", 9000)},
		"the token as a user key": {"AKIA" + one.id[4:], one.secret, one.token},
	} {
		for _, presign := range []bool{false, true} {
			status, body := in.raw(who, "sts", identify, presign, nil)
			want := "<Code>InvalidClientTokenId</Code>"
			if name == "a secret of another" {
				want = "<Code>SignatureDoesNotMatch</Code>"
			}
			if name == "too long" && presign {
				want = "<Code>IncompleteSignature</Code>"
			}
			if status == http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s, presigned %v: %d %s, want %s", name, presign, status, body, want)
			}
			status, body = in.raw(who, "ec2", vpcs, presign, nil)
			if name == "too long" && presign {
				continue
			}
			if status != http.StatusUnauthorized || !strings.Contains(body, "<Code>AuthFailure</Code>") {
				t.Errorf("EC2, %s, presigned %v: %d %s", name, presign, status, body)
			}
		}
	}
	for _, presign := range []bool{false, true} {
		if status, body := in.raw(one, "sts", identify, presign, nil); status != http.StatusOK || !strings.Contains(body, "assumed-role/build/one") {
			t.Errorf("presigned %v: %d %s", presign, status, body)
		}
	}
	// The token is part of what is signed.
	status, body := in.raw(one, "sts", identify, false, func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", two.token) })
	if status == http.StatusOK {
		t.Errorf("a token changed after signing: %s", body)
	}
	// A token of one installation is none of another's.
	other := newInstallation(t)
	if status, body := other.raw(one, "sts", identify, false, nil); status != http.StatusForbidden || !strings.Contains(body, "InvalidClientTokenId") {
		t.Errorf("another installation: %d %s", status, body)
	}
}

func TestSessionEndsByTimeAndWithItsRole(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	arn := in.role(consumerRoot, "build", trusting(`"*"`), allowing(everything))
	s := in.assume(ann, arn, "job", func(r *awssts.AssumeRoleInput) { r.DurationSeconds = aws.Int32(900) })
	token, err := in.sts(ann).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	if err != nil {
		t.Fatal(err)
	}
	own := in.session(token.Credentials)
	in.clock.Advance(15*time.Minute - 2*time.Second)
	if status, body := in.raw(s, "sts", identify, false, nil); status != http.StatusOK {
		t.Errorf("before its end: %d %s", status, body)
	}
	in.clock.Advance(2 * time.Second)
	for _, who := range []identity{s, own} {
		for _, presign := range []bool{false, true} {
			if status, body := in.raw(who, "sts", identify, presign, nil); status != http.StatusForbidden || !strings.Contains(body, "<Code>ExpiredToken</Code>") {
				t.Errorf("after its end: %d %s", status, body)
			}
			if status, body := in.raw(who, "ec2", "Action=DescribeVpcs&Version=2016-11-15", presign, nil); status != http.StatusBadRequest || !strings.Contains(body, "<Code>RequestExpired</Code>") {
				t.Errorf("EC2 after its end: %d %s", status, body)
			}
		}
	}

	in = newInstallation(t)
	ann = in.user("ann", allowing(everything))
	arn = in.role(consumerRoot, "build", trusting(`"*"`), "")
	s = in.assume(ann, arn, "job")
	if _, err := in.iam(consumerRoot).DeleteRole(t.Context(), &awsiam.DeleteRoleInput{RoleName: aws.String("build")}); err != nil {
		t.Fatal(err)
	}
	if status, body := in.raw(s, "sts", identify, false, nil); status != http.StatusForbidden || !strings.Contains(body, "InvalidClientTokenId") {
		t.Errorf("role gone: %d %s", status, body)
	}
	if again := in.role(consumerRoot, "build", trusting(`"*"`), ""); again != arn {
		t.Fatal(again)
	}
	if status, body := in.raw(s, "sts", identify, false, nil); status != http.StatusForbidden || !strings.Contains(body, "InvalidClientTokenId") {
		t.Errorf("role made anew: %d %s", status, body)
	}
}

func TestUserSessionsHaveNoIAM(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	for _, who := range []identity{ann, consumerRoot} {
		token, err := in.sts(who).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		own := in.session(token.Credentials)
		_, err = in.iam(own).ListUsers(t.Context(), &awsiam.ListUsersInput{})
		refused(t, "IAM", err, "InvalidClientTokenId")
		_, err = in.sts(own).GetSessionToken(t.Context(), &awssts.GetSessionTokenInput{})
		refused(t, "a session of a session", err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
		_, err = in.ec2(own).DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{})
		ok(t, "what the user may", err)
	}
}

func TestKeyThatIsOffSignsNothing(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	root := in.iam(consumerRoot)
	set := func(status iamtypes.StatusType) {
		t.Helper()
		if _, err := root.UpdateAccessKey(t.Context(), &awsiam.UpdateAccessKeyInput{UserName: aws.String("ann"), AccessKeyId: &ann.id, Status: status}); err != nil {
			t.Fatal(err)
		}
	}
	who := func() error {
		_, err := in.sts(ann).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
		return err
	}
	set(iamtypes.StatusTypeInactive)
	refused(t, "off", who(), "InvalidClientTokenId")
	set(iamtypes.StatusTypeActive)
	ok(t, "on again", who())
	if _, err := root.DeleteAccessKey(t.Context(), &awsiam.DeleteAccessKeyInput{UserName: aws.String("ann"), AccessKeyId: &ann.id}); err != nil {
		t.Fatal(err)
	}
	refused(t, "deleted", who(), "InvalidClientTokenId")
}

func TestAccountsSeeNothingOfEachOther(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	foreign, err := in.ec2(providerRoot).CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	in.role(providerRoot, "theirs", trusting(`{"AWS":"222222222222"}`), "")
	_, err = in.ec2(ann).DeleteVpc(t.Context(), &awsec2.DeleteVpcInput{VpcId: foreign.Vpc.VpcId})
	refused(t, "a foreign VPC", err, "InvalidVpcID.NotFound")
	_, err = in.ec2(ann).DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{VpcIds: []string{*foreign.Vpc.VpcId}})
	refused(t, "a foreign VPC", err, "InvalidVpcID.NotFound")
	_, err = in.iam(ann).GetRole(t.Context(), &awsiam.GetRoleInput{RoleName: aws.String("theirs")})
	refused(t, "a foreign role", err, "NoSuchEntity")
	made, err := in.iam(providerRoot).CreatePolicy(t.Context(), &awsiam.CreatePolicyInput{PolicyName: aws.String("theirs"), PolicyDocument: aws.String(allowing(everything))})
	if err != nil {
		t.Fatal(err)
	}
	// Also where the account has one of the same name.
	if _, err := in.iam(consumerRoot).CreatePolicy(t.Context(), &awsiam.CreatePolicyInput{PolicyName: aws.String("theirs"), PolicyDocument: aws.String(allowing(everything))}); err != nil {
		t.Fatal(err)
	}
	_, err = in.iam(ann).GetPolicy(t.Context(), &awsiam.GetPolicyInput{PolicyArn: made.Policy.Arn})
	refused(t, "a foreign policy", err, "NoSuchEntity")
	_, err = in.iam(consumerRoot).AttachUserPolicy(t.Context(), &awsiam.AttachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: made.Policy.Arn})
	refused(t, "attach a foreign policy", err, "NoSuchEntity")
	_, err = in.iam(consumerRoot).GetAccessKeyLastUsed(t.Context(), &awsiam.GetAccessKeyLastUsedInput{AccessKeyId: &providerRoot.id})
	refused(t, "a foreign key", err, "NoSuchEntity")

	// A policy on a foreign id is judged as on one that does not exist.
	in.allow("ann", allowing(`"Effect":"Allow","Action":"ec2:DeleteVpc","Resource":"arn:aws:ec2:us-east-1:222222222222:vpc/*"`))
	for _, id := range []string{*foreign.Vpc.VpcId, "vpc-0123456789abcdef0"} {
		_, err = in.ec2(ann).DeleteVpc(t.Context(), &awsec2.DeleteVpcInput{VpcId: &id})
		refused(t, id, err, "UnauthorizedOperation", "arn:aws:ec2:us-east-1:111111111111:vpc/"+id)
	}
}

func TestOtherServicesAskPoliciesToo(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(`"Effect":"Allow","Action":["elasticloadbalancing:DescribeLoadBalancers","iam:GetUser"],"Resource":"*"`))
	_, err := in.elb(ann).DescribeLoadBalancers(t.Context(), &awselb.DescribeLoadBalancersInput{})
	ok(t, "ELB", err)
	_, err = in.elb(ann).CreateTargetGroup(t.Context(), &awselb.CreateTargetGroupInput{Name: aws.String("one"), Protocol: "TCP", Port: aws.Int32(80), VpcId: aws.String("vpc-0123456789abcdef0")})
	refused(t, "ELB", err, "AccessDenied", "elasticloadbalancing:CreateTargetGroup on resource: arn:aws:elasticloadbalancing:us-east-1:111111111111:targetgroup/one/*")
	out, err := in.iam(ann).GetUser(t.Context(), &awsiam.GetUserInput{})
	ok(t, "IAM", err)
	if out != nil && *out.User.UserName != "ann" {
		t.Errorf("user %s", *out.User.UserName)
	}
	_, err = in.iam(ann).CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{})
	refused(t, "IAM", err, "AccessDenied", "iam:CreateAccessKey on resource: arn:aws:iam::111111111111:user/ann")
	_, err = in.iam(ann).AttachUserPolicy(t.Context(), &awsiam.AttachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
	refused(t, "IAM", err, "AccessDenied")
	if _, err := in.iam(consumerRoot).AttachUserPolicy(t.Context(), &awsiam.AttachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}); err != nil {
		t.Fatal(err)
	}
	_, err = in.iam(ann).CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{})
	ok(t, "IAM with AdministratorAccess", err)
	if err == nil {
		_, err = in.iam(ann).CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{})
		refused(t, "a third key", err, "LimitExceeded")
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	in := newInstallation(t)
	ann := in.user("ann", allowing(everything))
	arn := in.role(consumerRoot, "build", trusting(`"*"`), "")
	s := in.assume(ann, arn, "job", func(r *awssts.AssumeRoleInput) { r.Policy = aws.String(allowing(everything)) })
	calls := []identity{consumerRoot, ann, s, {s.id, s.secret, ann.secret}, {s.id, ann.secret, s.token}, {ann.id, ann.secret, s.token}, {s.id, s.secret, ""}}
	for _, who := range calls {
		for _, presign := range []bool{false, true} {
			in.raw(who, "sts", identify, presign, nil)
			in.raw(who, "ec2", "Action=DescribeVpcs&Version=2016-11-15", presign, nil)
			in.raw(who, "ec2", "Action=Nonsense&Version=2016-11-15", presign, nil)
			in.raw(who, "iam", "Action=CreateAccessKey&Version=2010-05-08&UserName=nobody", presign, nil)
			in.raw(who, "s3", "Action=x", presign, nil)
		}
	}
	in.clock.Advance(2 * time.Hour)
	in.raw(s, "sts", identify, false, nil)
	in.raw(s, "sts", identify, true, nil)
	log := in.log.String()
	if !strings.Contains(log, "assumed-role/build/job") || !strings.Contains(log, "request refused") || strings.Count(log, "\n") < 60 {
		t.Fatalf("the log is not that of this test: %.2000s", log)
	}
	for _, secret := range in.secrets {
		if len(secret) < 16 || strings.Contains(log, secret) {
			t.Errorf("a secret of %d bytes is in the log", len(secret))
		}
	}
	if len(in.secrets) < 5 {
		t.Errorf("%d secrets", len(in.secrets))
	}
}
