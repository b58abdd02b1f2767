// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// show writes a classification in one line: checks as action resource, or the
// error's code.
func show(c *s3Call, e *s3Error) string {
	if e != nil {
		return e.Code
	}
	var out []string
	for _, k := range c.Checks {
		s := strings.TrimPrefix(k.Action, "s3:") + " " + strings.TrimPrefix(k.resource(), "arn:aws:s3:::")
		if k.VersionID != "" {
			s += " @" + k.VersionID
		}
		out = append(out, s)
	}
	if c.Bulk {
		out = append(out, "(bulk)")
	}
	return strings.Join(out, ", ")
}

func headers(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

func TestEveryRequestHasItsAction(t *testing.T) {
	const presigned = "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
	for _, tc := range []struct {
		request string // method URI [bucket of the host]
		headers []string
		want    string
	}{
		{"GET /", nil, "ListAllMyBuckets *"},
		{"GET /?x-id=ListBuckets&max-buckets=10", nil, "ListAllMyBuckets *"},
		{"GET /data", nil, "ListBucket data"},
		{"GET /data/", nil, "ListBucket data"},
		{"GET /data?list-type=2&prefix=a%2F&delimiter=%2F", nil, "ListBucket data"},
		{"GET / data", nil, "ListBucket data"},
		{"HEAD /data", nil, "ListBucket data"},
		{"PUT /data", nil, "CreateBucket data"},
		{"PUT /data", []string{"X-Amz-Acl: public-read"}, "CreateBucket data, PutBucketAcl data"},
		{"PUT /data", []string{"X-Amz-Bucket-Object-Lock-Enabled: true", "X-Amz-Object-Ownership: ObjectWriter"},
			"CreateBucket data, PutBucketOwnershipControls data, PutBucketObjectLockConfiguration data, PutBucketVersioning data"},
		{"DELETE /data", nil, "DeleteBucket data"},
		{"GET /data?location", nil, "GetBucketLocation data"},
		{"GET /data?location=", nil, "GetBucketLocation data"},
		{"GET /data?versions&prefix=x", nil, "ListBucketVersions data"},
		{"GET /data?uploads", nil, "ListBucketMultipartUploads data"},
		{"GET /data?acl", nil, "GetBucketAcl data"},
		{"PUT /data?policy", nil, "PutBucketPolicy data"},
		{"DELETE /data?policy", nil, "DeleteBucketPolicy data"},
		{"DELETE /data?cors", nil, "PutBucketCORS data"},
		{"GET /data?lifecycle", nil, "GetLifecycleConfiguration data"},
		{"PUT /data?encryption", nil, "PutEncryptionConfiguration data"},
		{"PUT /data?versioning", nil, "PutBucketVersioning data"},
		{"PUT /data?inventory&id=x", nil, "PutInventoryConfiguration data"},
		{"POST /data?delete", nil, "DeleteObject data, (bulk)"},

		{"GET /data/a", nil, "GetObject data/a"},
		{"GET /a data", nil, "GetObject data/a"},
		{"HEAD /data/a", nil, "GetObject data/a"},
		{"GET /data/a?versionId=v1", nil, "GetObjectVersion data/a @v1"},
		{"GET /data/a?partNumber=1&response-content-type=x", nil, "GetObject data/a"},
		{"GET /data/a?acl&versionId=v1", nil, "GetObjectVersionAcl data/a @v1"},
		{"GET /data/a?attributes", nil, "GetObjectAttributes data/a, GetObject data/a"},
		{"GET /data/a?attributes&versionId=v1", nil, "GetObjectVersionAttributes data/a @v1, GetObjectVersion data/a @v1"},
		{"GET /data/a?uploadId=u", nil, "ListMultipartUploadParts data/a"},
		{"PUT /data/a", nil, "PutObject data/a"},
		{"PUT /data/a?x-id=PutObject", nil, "PutObject data/a"},
		{"PUT /data/a", []string{"X-Amz-Grant-Read: id=x", "X-Amz-Tagging: a=b", "X-Amz-Object-Lock-Mode: GOVERNANCE", "X-Amz-Object-Lock-Legal-Hold: ON"},
			"PutObject data/a, PutObjectAcl data/a, PutObjectTagging data/a, PutObjectRetention data/a, PutObjectLegalHold data/a"},
		{"PUT /data/a?X-Amz-Acl=public-read" + presigned, nil, "PutObject data/a, PutObjectAcl data/a"},
		{"PUT /data/a?X-Amz-Acl=public-read", nil, "AccessDenied"},
		{"POST /data/a?uploads", []string{"X-Amz-Acl: private"}, "PutObject data/a, PutObjectAcl data/a"},
		{"PUT /data/a?partNumber=1&uploadId=u", nil, "PutObject data/a"},
		{"POST /data/a?uploadId=u", nil, "PutObject data/a"},
		{"DELETE /data/a?uploadId=u", nil, "AbortMultipartUpload data/a"},
		{"DELETE /data/a", nil, "DeleteObject data/a"},
		{"DELETE /data/a?versionId=v", []string{"X-Amz-Bypass-Governance-Retention: true"}, "DeleteObjectVersion data/a @v, BypassGovernanceRetention data/a"},
		{"PUT /data/a?tagging", nil, "PutObjectTagging data/a"},
		{"POST /data/a?select&select-type=2", nil, "GetObject data/a"},

		{"PUT /data/a", []string{"X-Amz-Copy-Source: /src/b%20c"}, "PutObject data/a, GetObject src/b c"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src/b?versionId=v9"}, "PutObject data/a, GetObjectVersion src/b @v9"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src/b+c"}, "PutObject data/a, GetObject src/b+c, GetObject src/b c"},
		{"PUT /data/a?x-amz-copy-source=src%2Fb" + presigned, nil, "PutObject data/a, GetObject src/b"},
		{"PUT /data/a?partNumber=1&uploadId=u", []string{"X-Amz-Copy-Source: src/b"}, "PutObject data/a, GetObject src/b"},
		{"PUT /data/a?acl", []string{"X-Amz-Copy-Source: src/b"}, "AccessDenied"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src"}, "InvalidArgument"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src/b?versionId=1&versionId=2"}, "InvalidArgument"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: arn:aws:s3:us-east-1:1:accesspoint/x/object/k"}, "InvalidBucketName"},

		// Keys are decoded once and kept as they are.
		{"GET /data/a%2Fb", nil, "GetObject data/a/b"},
		{"GET /data%2Fa", nil, "GetObject data/a"},
		{"GET /data/a%252Fb", nil, "GetObject data/a%2Fb"},
		{"GET /data//a//b", nil, "GetObject data//a//b"},
		{"GET //a data", nil, "GetObject data//a"},
		{"GET /data/a/../b", nil, "GetObject data/a/../b"},
		{"GET /data/a+b%20c", nil, "GetObject data/a+b c"},
		{"GET /data/%E2%82%AC", nil, "GetObject data/€"},
		{"GET /data/../other/secret", nil, "InvalidURI"},
		{"GET /data/a/../../other", nil, "InvalidURI"},
		{"DELETE /data/a/..", nil, "InvalidURI"},
		{"DELETE /data//", nil, "InvalidURI"},
		{"GET /data/%ff", nil, "InvalidURI"},
		{"GET /data/%00", nil, "InvalidURI"},
		{"GET /data/%zz", nil, "InvalidURI"},
		{"GET /data/secret#x", nil, "InvalidURI"},
		{"GET //a", nil, "InvalidBucketName"},
		{"GET /..", nil, "InvalidBucketName"},
		{"GET /data/" + strings.Repeat("k", 1025), nil, "KeyTooLongError"},

		// What could be read in two ways, or is unknown.
		{"GET http://other/data/a", nil, "InvalidURI"},
		{"GET /data/a?acl&tagging", nil, "InvalidRequest"},
		{"GET /data/a?acl&acl", nil, "InvalidArgument"},
		{"GET /data/a?acl=1", nil, "InvalidArgument"},
		{"GET /data/a?uploadId=", nil, "InvalidArgument"},
		{"GET /data/a?versionId=", nil, "InvalidArgument"},
		{"GET /data/a?a;b", nil, "InvalidURI"},
		{"GET /data/a?unheard-of", nil, "AccessDenied"},
		{"GET /data/a?policy", nil, "AccessDenied"},
		{"GET /data/a?ACL", nil, "AccessDenied"},
		{"PUT /data/a?partNumber=1", nil, "AccessDenied"},
		{"POST /data", nil, "AccessDenied"},
		{"POST /data/a", nil, "AccessDenied"},
		{"HEAD /", nil, "AccessDenied"},
		{"OPTIONS /data/a", nil, "MethodNotAllowed"},
		{"PATCH /data/a", nil, "MethodNotAllowed"},
		{"PUT /data/a?x-amz-acl=private", []string{"X-Amz-Acl: public-read"}, "InvalidArgument"},
		{"PUT /data/a", []string{"X-Amz-Acl: private", "X-Amz-Acl: public-read"}, "InvalidRequest"},
		{"PUT /data/a", []string{"Connection: x-amz-server-side-encryption"}, "InvalidRequest"},
		{"GET /data/a", []string{"Upgrade: h2c"}, "InvalidRequest"},
		{"GET /data/a", []string{"Authorization: Basic eDp5"}, "InvalidArgument"},
		{"GET /data/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request",
			[]string{"Authorization: AWS AK:sig"}, "InvalidArgument"},
		{"GET /data/a", []string{"X-Forwarded-Host: other",
			"Authorization: AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-forwarded-host, Signature=00"}, "InvalidRequest"},
		{"GET /data/a", []string{"X-Forwarded-Host: other"}, "GetObject data/a"},
	} {
		f := strings.Fields(tc.request)
		r := s3Request{Method: f[0], URI: f[1], Header: headers(tc.headers...)}
		if len(f) > 2 {
			r.Bucket = f[2]
		}
		if got := show(classifyS3(r)); got != tc.want {
			t.Errorf("%s %v:\n got %s\nwant %s", tc.request, tc.headers, got, tc.want)
		}
	}
}

func TestContextOfARequest(t *testing.T) {
	c, e := classifyS3(s3Request{Method: "GET", Header: headers("User-Agent: test", "Referer: r"),
		URI: "/data?list-type=2&prefix=&delimiter=%2F&max-keys=5&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host" +
			"&X-Amz-Credential=AKIA1%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=00"})
	if e != nil {
		t.Fatal(e)
	}
	want := map[string][]string{
		"s3:prefix": {""}, "s3:delimiter": {"/"}, "s3:max-keys": {"5"}, "s3:authType": {"REST-QUERY-STRING"},
		"s3:signatureversion": {"AWS4-HMAC-SHA256"}, "aws:UserAgent": {"test"}, "aws:Referer": {"r"},
	}
	if !reflect.DeepEqual(c.Context, want) {
		t.Errorf("got %v\nwant %v", c.Context, want)
	}
	if c.Claim.KeyID != "AKIA1" || c.Claim.Region != "eu-west-1" {
		t.Errorf("claim %+v", c.Claim)
	}
}

func TestHostNamesTheBucket(t *testing.T) {
	names := []string{"s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com", "*.amazonaws.com", "S3.example."}
	const ep = "vpce-0123456789abcdef0"
	for host, want := range map[string]string{
		"s3.us-east-1.amazonaws.com":                                       "",
		"S3.US-east-1.amazonaws.com.:8080":                                 "",
		"data.s3.us-east-1.amazonaws.com":                                  "data",
		"a.b.c.s3.us-east-1.amazonaws.com:443":                             "a.b.c",
		"s3.example":                                                       "",
		ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":                  "",
		ep + "-abcdefgh-us-east-1a.s3.us-east-1.vpce.amazonaws.test":       "",
		"bucket." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":      "",
		"data.bucket." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test": "data",
		"my.data." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":     "my.data",
		"control." + ep + "-abcdefgh.s3.us-east-1.vpce.amazonaws.test":     "refused",
		ep + "-abcdefgh.sqs.us-east-1.vpce.amazonaws.test":                 "refused",
		"vpce-0123456789abcdef1-abcdefgh.s3.us-east-1.vpce.amazonaws.test": "refused",
		"data.s3.example": "refused", "": "refused", "192.0.2.1": "refused", "[2001:db8::1]:80": "refused",
		"s3.example:80x": "refused", "a..s3.us-east-1.amazonaws.com": "refused", "a b.s3.us-east-1.amazonaws.com": "refused",
		".s3.us-east-1.amazonaws.com": "refused",
	} {
		got, ok := s3Host(host, names, ep, "s3", "us-east-1")
		if !ok {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

func TestBulkDeleteIsReadStrictly(t *testing.T) {
	wrap := func(s string) string {
		return `<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + s + `</Delete>`
	}
	for body, want := range map[string]string{
		wrap(`<Object><Key>a &amp; b</Key></Object><Object><Key> c </Key><VersionId>v</VersionId></Object><Quiet>true</Quiet>`): "DeleteObject data/a & b, DeleteObjectVersion data/ c  @v",
		wrap(`<Object><Key><![CDATA[x]]></Key></Object>`):                                                                       "DeleteObject data/x",
		wrap(``):                             "MalformedXML",
		wrap(`<Object><Key></Key></Object>`): "MalformedXML",
		wrap(`<Object><Key>a</Key><Key>b</Key></Object>`):                                       "MalformedXML",
		wrap(`<Object><Key>a<!-- x -->b</Key></Object>`):                                        "MalformedXML",
		wrap(`<Object><Key>a<b/></Key></Object>`):                                               "MalformedXML",
		wrap(`<object><Key>a</Key></object>`):                                                   "MalformedXML",
		wrap(`<x:Object xmlns:x="y"><Key>a</Key></x:Object>`):                                   "MalformedXML",
		wrap(`<Object><Key>../b</Key></Object>`):                                                "InvalidURI",
		`<!DOCTYPE d [<!ENTITY e "x">]>` + wrap(`<Object><Key>&e;</Key></Object>`):              "MalformedXML",
		wrap(`<Object><Key>a</Key></Object>`) + wrap(`<Object><Key>b</Key></Object>`):           "MalformedXML",
		`<?xml version="1.0" encoding="UTF-16"?><Delete><Object><Key>a</Key></Object></Delete>`: "MalformedXML",
		wrap(strings.Repeat(`<Object><Key>a</Key></Object>`, 1001)):                             "MalformedXML",
		`<Delete><Object><Key>a</Key></Object>`:                                                 "MalformedXML",
	} {
		checks, e := parseBulk([]byte(body), "data")
		if got := show(&s3Call{Checks: checks}, e); got != want {
			t.Errorf("%s:\n got %s\nwant %s", cut(body, 300), got, want)
		}
	}
}

// FuzzClassify feeds request lines: nothing panics, an accepted key is within
// S3's bounds, and encoding every byte of the path changes nothing.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"/", "/data/a?versionId=x", "/data/%2e%2e/b", "//x", "/data/a?acl", "/data/€", "/data/%25%2F?uploadId=1&partNumber=2"} {
		f.Add("GET", s, "data", "src/b?versionId=1")
		f.Add("PUT", s, "", "")
	}
	f.Fuzz(func(t *testing.T, method, uri, bucket, source string) {
		h := http.Header{}
		if source != "" {
			h.Set("X-Amz-Copy-Source", source)
		}
		r := s3Request{Method: method, URI: uri, Bucket: bucket, Header: h}
		c, e := classifyS3(r)
		if e != nil {
			return
		}
		for _, k := range c.Checks {
			if !strings.HasPrefix(k.Action, "s3:") || len(k.Key) > maxKey || k.Key != "" && tidied(k.Key) == "" || strings.HasPrefix(tidied(k.Key), "../") {
				t.Fatalf("%s %q gave %+v", method, uri, k)
			}
		}
		rawPath, rawQuery, _ := strings.Cut(uri, "?")
		decoded, err := url.PathUnescape(rawPath)
		if err != nil {
			t.Fatalf("%q was accepted", uri)
		}
		var enc strings.Builder
		for i := range len(decoded) {
			if i == 0 {
				enc.WriteByte('/')
				continue
			}
			fmt.Fprintf(&enc, "%%%02x", decoded[i])
		}
		r.URI = enc.String() + "?" + rawQuery
		if len(r.URI) > maxURI {
			return
		}
		again, e := classifyS3(r)
		if e != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q is %s, but %q is %s", uri, show(c, nil), r.URI, show(again, e))
		}
	})
}

func FuzzHost(f *testing.F) {
	f.Add("a.s3.us-east-1.amazonaws.com:80")
	f.Add("x.bucket.vpce-0-a.s3.us-east-1.vpce.test")
	f.Fuzz(func(t *testing.T, host string) {
		names := []string{"*.s3.us-east-1.amazonaws.com"}
		a, ok := s3Host(host, names, "vpce-0", "s3", "us-east-1")
		b, ok2 := s3Host(strings.ToUpper(host), names, "vpce-0", "s3", "us-east-1")
		if ok && strings.EqualFold(host, strings.ToUpper(host)) && (a != b || ok != ok2) {
			t.Fatalf("%q: %q and %q", host, a, b)
		}
	})
}

func FuzzBulk(f *testing.F) {
	f.Add([]byte(`<Delete><Object><Key>a</Key></Object></Delete>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		checks, e := parseBulk(body, "data")
		if e == nil && (len(checks) == 0 || len(checks) > maxBulkKeys) {
			t.Fatalf("%d checks", len(checks))
		}
	})
}
