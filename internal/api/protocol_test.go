// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/control/controltest"
	"postern.dev/postern/internal/vpc"
)

// want is a code with its status, and a part of its message.
type want struct {
	status        int
	code, message string
}

// Every refusal of the protocol, in the form of each service: EC2 and the
// services of the query protocol differ in codes, statuses and envelopes.
func TestRefusalsHaveTheCodeStatusAndFormOfTheirService(t *testing.T) {
	d := newDoor(t)
	me := &signers[0]
	wrong := &signer{me.caller, vpc.AccessKey{ID: me.key.ID, Secret: "another"}}
	nobody := &signer{me.caller, vpc.AccessKey{ID: "AKIANOBODY0000000001", Secret: me.key.Secret}}
	const notValidated = "AWS was not able to validate the provided access credentials"
	same := func(w want) [3]want { return [3]want{w, w, w} }
	query := func(ec2, query want) [3]want { return [3]want{ec2, query, query} }
	for _, c := range []struct {
		name string
		q    request // of ec2; the body is that of a harmless read if it is empty
		edit func(*http.Request)
		want [3]want // ec2, elasticloadbalancing, sts; a status of 0 leaves one out
	}{
		{"no signature", request{}, nil, same(want{403, "MissingAuthenticationToken", "Request is missing Authentication Token"})},
		{"a header that cannot be read", request{signer: me}, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") },
			same(want{400, "IncompleteSignature", "Credential"})},
		{"another algorithm", request{signer: me}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, same(want{400, "IncompleteSignature", "AWS4-HMAC-SHA256"})},
		{"an unknown key", request{signer: nobody}, nil,
			query(want{401, "AuthFailure", notValidated}, want{403, "InvalidClientTokenId", "The security token included in the request is invalid."})},
		{"a wrong signature", request{signer: wrong}, nil, query(want{401, "AuthFailure", notValidated}, want{403, "SignatureDoesNotMatch", "secret key"})},
		// Codes after which SDKs set their clock by the Date header and sign again.
		{"sixteen minutes old", request{signer: me, age: 16 * time.Minute}, nil,
			query(want{401, "AuthFailure", "Signature expired: 20260102T024805Z is now earlier than 20260102T024905Z"}, want{403, "SignatureDoesNotMatch", "Signature expired: 20260102T024805Z"})},
		{"sixteen minutes early", request{signer: me, age: -16 * time.Minute}, nil,
			query(want{401, "AuthFailure", "Signature not yet current: 20260102T032005Z"}, want{403, "SignatureDoesNotMatch", "Signature not yet current: 20260102T032005Z"})},
		{"a presigned request that is over", request{signer: me, method: "GET", query: "X-Amz-Expires=60", presign: true, age: 2 * time.Minute}, nil, same(want{400, "RequestExpired", "Request has expired."})},
		{"another region", request{signer: me, region: "eu-west-9"}, nil, same(want{403, "SignatureDoesNotMatch", `"eu-west-9", which is not offered here: sign for us-east-1`})},
		{"a service that is not here", request{signer: me, service: "lambda"}, nil, [3]want{{403, "SignatureDoesNotMatch", `"lambda", which is not offered here: sign for ec2`}}},
		{"another port in Host", request{signer: me}, func(r *http.Request) { r.Host = "127.0.0.1:8421" },
			query(want{401, "AuthFailure", notValidated}, want{403, "SignatureDoesNotMatch", ""})},
		{"a token with a key that has none", request{signer: me, header: http.Header{"X-Amz-Security-Token": {"x"}}}, nil,
			query(want{401, "AuthFailure", notValidated}, want{403, "InvalidClientTokenId", ""})},
		{"no action", request{signer: me, body: "Version=VERSION"}, nil, same(want{400, "MissingAction", "missing an action"})},
		{"an unknown action", request{signer: me, body: "Action=MakeCoffee&Version=VERSION"}, nil,
			query(want{400, "InvalidAction", "The action MakeCoffee is not valid for this web service."}, want{400, "InvalidAction", "Could not find operation MakeCoffee for version VERSION"})},
		{"an unknown version", request{signer: me, body: "Action=ACTION&Version=2001-01-01"}, nil, same(want{400, "NoSuchVersion", "2001-01-01"})},
		{"a missing parameter", request{signer: me, body: "Action=MISSING&Version=VERSION"}, nil,
			[3]want{{400, "MissingParameter", "The request must contain the parameter VpcId"}, {400, "ValidationError", "The request must contain the parameter Name"}, {}}},
		{"an unknown parameter", request{signer: me, body: "Action=ACTION&Version=VERSION&Nonsense.7.x=1"}, nil,
			query(want{400, "UnknownParameter", "Nonsense.7.x"}, want{400, "ValidationError", "Nonsense.7.x"})},
		{"a parameter twice", request{signer: me, body: "Action=ACTION&Version=VERSION&A=1&A=2"}, nil, same(want{400, "MalformedQueryString", "A was sent more than once"})},
		{"what is no form", request{signer: me, body: "Action=%zz"}, nil, same(want{400, "MalformedQueryString", "percent escape"})},
		{"a body of another type", request{signer: me, header: http.Header{"Content-Type": {"application/json"}}, body: "{}"}, nil, same(want{400, "MalformedQueryString", "form-urlencoded"})},
		{"a body that is too large", request{signer: me, body: "Action=ACTION&X=" + strings.Repeat("x", 1<<20)}, nil, same(want{413, "RequestEntityTooLarge", "1048576"})},
		{"another method", request{signer: me, method: "PUT"}, nil, same(want{405, "MethodNotAllowed", "GET or POST"})},
		{"a dry run", request{signer: me, body: "Action=DescribeVpcs&DryRun=true"}, nil, [3]want{{412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, s := range []struct{ service, action, missing string }{
				{"ec2", "DescribeVpcs", "CreateRouteTable"}, {"elasticloadbalancing", "DescribeLoadBalancers", "CreateLoadBalancer"}, {"sts", "GetCallerIdentity", ""},
			} {
				w := c.want[i]
				if w.status == 0 {
					continue
				}
				d.t = t
				q := c.q
				if q.service == "" {
					q.service = s.service
				}
				fill := strings.NewReplacer("ACTION", s.action, "VERSION", versions[s.service], "MISSING", s.missing)
				if q.body == "" && q.method != "GET" {
					q.body = "Action=ACTION&Version=VERSION"
				}
				q.body = fill.Replace(q.body)
				r := d.sign(q)
				if c.edit != nil {
					c.edit(r)
				}
				a := d.serve(r)
				if a.status != w.status || a.code != w.code || !strings.Contains(a.message, fill.Replace(w.message)) {
					t.Errorf("%s: %d %s %q, want %+v", s.service, a.status, a.code, a.message, w)
				}
				if err := envelope(s.service, a); err != nil {
					t.Errorf("%s: %v\n%s", s.service, err, a.body)
				}
				if problem := check(q, a, d.lastRecord()); problem != "" {
					t.Errorf("%s: %s", s.service, problem)
				}
				d.noSecret()
			}
		})
	}
}

// envelope holds an error against the form of its service.
func envelope(service string, a answer) error {
	if service == "ec2" {
		var e struct {
			XMLName xml.Name
			Errors  struct {
				Error []struct{ Code, Message string }
			}
			RequestID string
		}
		if err := xml.Unmarshal(a.body, &e); err != nil {
			return err
		}
		if e.XMLName.Local != "Response" || e.XMLName.Space != "" || len(e.Errors.Error) != 1 || e.RequestID == "" {
			return fmt.Errorf("no error of EC2: %+v", e)
		}
		return nil
	}
	var e struct {
		XMLName xml.Name
		Error   struct{ Type, Code, Message string }
		ID      string `xml:"RequestId"`
	}
	if err := xml.Unmarshal(a.body, &e); err != nil {
		return err
	}
	space := map[string]string{"elasticloadbalancing": "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/", "sts": "https://sts.amazonaws.com/doc/2011-06-15/"}[service]
	if e.XMLName.Local != "ErrorResponse" || e.XMLName.Space != space || e.Error.Type != "Sender" || e.ID == "" {
		return fmt.Errorf("no error of the query protocol: %+v", e)
	}
	return nil
}

// What clients may write in several ways, in one call that succeeds.
func TestRequestsMayBeWrittenInManyWays(t *testing.T) {
	d := newDoor(t)
	me := &signers[0]
	ok := func(q request) answer {
		t.Helper()
		q.signer = me
		a := d.do(q)
		if a.status != 200 {
			t.Fatalf("%s %s: %d %s: %s", q.query, q.body, a.status, a.code, a.message)
		}
		return a
	}
	id := func(a answer, element string) string {
		t.Helper()
		_, rest, found := strings.Cut(string(a.body), "<"+element+">")
		if !found {
			t.Fatalf("no %s in %s", element, a.body)
		}
		v, _, _ := strings.Cut(rest, "<")
		return v
	}
	const version = "&Version=2016-11-15"
	// GET, POST with the action in the query string, and presigned.
	ok(request{method: "GET", query: "Action=DescribeVpcs" + version})
	ok(request{query: "Action=DescribeVpcs" + version})
	v := id(ok(request{query: "Action=CreateVpc" + version, body: "CidrBlock=10.0.0.0%2F16"}), "vpcId")
	ok(request{method: "GET", query: "Action=DescribeVpcs&X-Amz-Expires=60" + version, presign: true})
	ok(request{service: "sts", region: "us-east-1", method: "GET", query: "Action=GetCallerIdentity&Version=2011-06-15", presign: true, header: http.Header{"X-K8s-Aws-Id": {"cluster"}}})
	ok(request{body: "Action=DescribeVpcs"}) // without a version

	// Indices in any order, with holes; an empty tag value; a tag in UTF-8.
	tags := url.Values{"Action": {"CreateTags"}, "ResourceId.3": {v}, "Tag.9.Key": {"empty"}, "Tag.9.Value": {""}, "Tag.2.Key": {"Name"}, "Tag.2.Value": {"größe <&> 漢"}}
	ok(request{body: tags.Encode()})
	got, _ := vpc.Get[vpc.VPC](d.c.View(), v)
	if val, there := got.Tags["empty"]; !there || val != "" || got.Tags["Name"] != "größe <&> 漢" {
		t.Errorf("tags %q", got.Tags)
	}
	if a := ok(request{body: "Action=DescribeTags&Filter.1.Name=key&Filter.1.Value.1=Name"}); !strings.Contains(string(a.body), "größe &lt;&amp;&gt; 漢") {
		t.Errorf("the tag reads %s", a.body)
	}

	// A list that is sent empty.
	subnet := id(ok(request{body: "Action=CreateSubnet&VpcId=" + v + "&CidrBlock=10.0.1.0/24"}), "subnetId")
	ok(request{service: "elasticloadbalancing", body: "Action=CreateLoadBalancer&Version=2015-12-01&Name=x&Type=network&SecurityGroups=&Subnets.member.1=" + subnet})
	for lb := range vpc.All[vpc.LoadBalancer](d.c.View()) {
		if len(lb.Groups) != 0 {
			t.Errorf("an empty list of security groups became %v", lb.Groups)
		}
	}

	// A policy of more than 1,000 characters with plus signs and letters beyond ASCII, a
	// space written as plus or as %20.
	policy := `{"Statement":[{"Sid":"a b","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/` + strings.Repeat("ä+é漢 ", 180) + `"}]}`
	for i, encode := range []func(string) string{url.QueryEscape, url.PathEscape} {
		text := encode(policy)
		text = strings.NewReplacer("+", map[bool]string{true: "+", false: "%2B"}[i == 0], "&", "%26", "=", "%3D").Replace(text)
		a := ok(request{body: "Action=CreateVpcEndpoint&VpcId=" + v + "&ServiceName=com.amazonaws.us-east-1.s3&PolicyDocument=" + text})
		e, _ := vpc.Get[vpc.Endpoint](d.c.View(), id(a, "vpcEndpointId"))
		if e.Policy != policy {
			t.Errorf("the policy was kept as %.80q... of %d bytes, want %d", e.Policy, len(e.Policy), len(policy))
		}
		var out struct {
			Policy string `xml:"vpcEndpoint>policyDocument"`
		}
		if err := xml.Unmarshal(a.body, &out); err != nil || out.Policy != policy {
			t.Errorf("the policy reads %.80q..., %v", out.Policy, err)
		}
	}
}

// SDKs set their clocks by it: it is the time that signatures are judged by.
func TestEveryAnswerHasAnAccurateDate(t *testing.T) {
	d := newDoor(t)
	for name, q := range map[string]request{
		"success": {signer: &signers[0], body: "Action=DescribeVpcs"}, "refused": {signer: &signers[0], body: "Action=DeleteVpc"},
		"unsigned": {body: "Action=DescribeVpcs"}, "too old": {signer: &signers[0], body: "Action=DescribeVpcs", age: time.Hour}, "not read": {body: "%"},
	} {
		d.clock.Advance(time.Minute)
		a := d.do(q)
		if at, err := http.ParseTime(a.header.Get("Date")); err != nil || !at.Equal(d.c.Now()) {
			t.Errorf("%s: Date %q, %v, want %v", name, a.header.Get("Date"), err, d.c.Now())
		}
		if a.requestID == "" || a.requestID != a.header.Get("x-amzn-RequestId") {
			t.Errorf("%s: request id %q in the body, %q in the header", name, a.requestID, a.header.Get("x-amzn-RequestId"))
		}
	}
}

// A client that breaks off, or whose chunks are no chunks, is refused: it is
// no fault of the server's.
func TestABodyThatDoesNotEndIsTheClientsFault(t *testing.T) {
	d := newDoor(t)
	srv := httptest.NewServer(d.handler)
	defer srv.Close()
	for name, raw := range map[string]string{
		"broken chunks": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"a short chunk": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"a short body":  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nAction=",
	} {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
		c.Close()
	}
	controltest.CheckInvariants(t, d.c.View())
}
