// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern.dev/postern/internal/edge/call"
)

// show writes a classification in one line: checks as action resource, or the
// error's code, or "unknown".
func show(c *call.Call, e *call.Error) string {
	if e != nil {
		return e.Code
	}
	if c.Unknown != "" {
		return "unknown"
	}
	var out []string
	for _, k := range c.Checks {
		s := strings.TrimPrefix(k.Action, "s3:") + " " + strings.TrimPrefix(k.Resource, "arn:aws:s3:::")
		if v := k.Context["s3:VersionId"]; v != nil {
			s += " @" + v[0]
		}
		out = append(out, s)
	}
	if c.Body != nil {
		out = append(out, "(body)")
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
		{"PUT /data", nil, "CreateBucket data, (body)"},
		{"PUT /data", []string{"X-Amz-Acl: public-read"}, "CreateBucket data, PutBucketAcl data, (body)"},
		{"PUT /data", []string{"X-Amz-Bucket-Object-Lock-Enabled: true", "X-Amz-Object-Ownership: ObjectWriter"},
			"CreateBucket data, PutBucketOwnershipControls data, PutBucketObjectLockConfiguration data, PutBucketVersioning data, (body)"},
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
		{"PUT /data?inventory&id=x", nil, "PutInventoryConfiguration data, (body)"},
		{"POST /data?delete", nil, "DeleteObject data, (body)"},

		{"GET /data/a", nil, "GetObject data/a"},
		{"GET /a data", nil, "GetObject data/a"},
		{"HEAD /data/a", nil, "GetObject data/a"},
		{"GET /data/a?versionId=v1", nil, "GetObjectVersion data/a @v1"},
		{"GET /data/a?partNumber=1&response-content-type=x", nil, "GetObject data/a"},
		{"GET /data/a?acl&versionId=v1", nil, "GetObjectVersionAcl data/a @v1, GetObjectAcl data/a @v1"},
		{"GET /data/a?attributes", nil, "GetObjectAttributes data/a, GetObject data/a"},
		{"GET /data/a?attributes&versionId=v1", nil, "GetObjectVersionAttributes data/a @v1, GetObjectVersion data/a @v1"},
		{"GET /data/a?uploadId=u", nil, "ListMultipartUploadParts data/a"},
		{"PUT /data/a", nil, "PutObject data/a"},
		{"PUT /data/a?x-id=PutObject", nil, "PutObject data/a"},
		{"PUT /data/a", []string{"X-Amz-Grant-Read: id=x", "X-Amz-Tagging: a=b", "X-Amz-Object-Lock-Mode: GOVERNANCE", "X-Amz-Object-Lock-Legal-Hold: ON"},
			"PutObject data/a, PutObjectAcl data/a, PutObjectTagging data/a, PutObjectRetention data/a, PutObjectLegalHold data/a"},
		{"PUT /data/a?X-Amz-Acl=public-read" + presigned, nil, "PutObject data/a, PutObjectAcl data/a"},
		{"PUT /data/a?X-Amz-Acl=public-read", nil, "InvalidRequest"},
		{"POST /data/a?uploads", []string{"X-Amz-Acl: private"}, "PutObject data/a, PutObjectAcl data/a"},
		{"PUT /data/a?partNumber=1&uploadId=u", nil, "PutObject data/a"},
		{"POST /data/a?uploadId=u", nil, "PutObject data/a"},
		{"DELETE /data/a?uploadId=u", nil, "AbortMultipartUpload data/a"},
		{"DELETE /data/a", nil, "DeleteObject data/a"},
		{"DELETE /data/a?versionId=v", []string{"X-Amz-Bypass-Governance-Retention: true"}, "DeleteObjectVersion data/a @v, BypassGovernanceRetention data/a @v"},
		{"PUT /data/a?tagging", nil, "PutObjectTagging data/a, (body)"},
		{"POST /data/a?select&select-type=2", nil, "GetObject data/a"},

		{"PUT /data/a", []string{"X-Amz-Copy-Source: /src/b%20c"}, "PutObject data/a, GetObject src/b c"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src/b?versionId=v9"}, "PutObject data/a, GetObjectVersion src/b @v9"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src/b+c"}, "PutObject data/a, GetObject src/b+c, GetObject src/b c"},
		{"PUT /data/a?x-amz-copy-source=src%2Fb" + presigned, nil, "PutObject data/a, GetObject src/b"},
		{"PUT /data/a?partNumber=1&uploadId=u", []string{"X-Amz-Copy-Source: src/b"}, "PutObject data/a, GetObject src/b"},
		{"PUT /data/a?acl", []string{"X-Amz-Copy-Source: src/b"}, "InvalidArgument"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src"}, "InvalidArgument"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: src/b?versionId=1&versionId=2"}, "InvalidArgument"},
		{"PUT /data/a", []string{"X-Amz-Copy-Source: arn:aws:s3:us-east-1:1:accesspoint/x/object/k"}, "InvalidArgument"},

		// Keys are decoded once and kept as they are.
		{"GET /data/a%2Fb", nil, "GetObject data/a/b"},
		{"GET /data%2Fa", nil, "GetObject data/a"},
		{"GET /data/a%252Fb", nil, "GetObject data/a%2Fb"},
		{"GET /data//a//b", nil, "GetObject data//a//b"},
		{"GET //a data", nil, "GetObject data//a"},
		{"GET /data/a/../b", nil, "GetObject data/a/../b"},
		{"GET /data/a+b%20c", nil, "GetObject data/a+b c"},
		{"GET /data/%E2%82%AC", nil, "GetObject data/€"},
		{"GET /data/../other/secret", nil, "400"},
		{"GET /data/a/../../other", nil, "400"},
		{"DELETE /data/a/..", nil, "400"},
		{"DELETE /data//", nil, "400"},
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
		{"GET /data/a?versionId=", nil, "GetObject data/a, GetObjectVersion data/a"},
		{"GET /data/a?attributes&versionId=", nil, "GetObjectAttributes data/a, GetObjectVersionAttributes data/a, GetObject data/a, GetObjectVersion data/a"},
		{"PUT /data/a?legal-hold&versionId=", nil, "PutObjectLegalHold data/a, (body)"},
		{"PUT /data/a", []string{"X-Amz-Meta-A_b: c", "X-Amz-Meta-A_b: d"}, "PutObject data/a"},
		{"PUT /data/a", []string{"X_amz_copy_source: data/b"}, "InvalidRequest"},
		{"PUT /data/a", []string{"X-Amz_meta-A: b"}, "InvalidRequest"},
		{"GET /data/a?attributes", []string{"X-Amz-Object-Attributes: ETag", "X-Amz-Object-Attributes: ObjectSize"}, "GetObjectAttributes data/a, GetObject data/a"},
		{"GET /data/a?a;b", nil, "InvalidURI"},
		// Backends that do not know a subresource do the plain request.
		{"PUT /data/a?encryption", []string{"X-Amz-Tagging: a=b"}, "UpdateObjectEncryption data/a, PutObject data/a, PutObjectTagging data/a"},
		{"DELETE /data?metadataTable", nil, "DeleteBucketMetadataTableConfiguration data, DeleteBucket data"},
		{"POST /data?metadataTable", []string{"Content-Type: multipart/form-data; boundary=B"}, "InvalidArgument"},
		{"GET /data/a?unheard-of", nil, "unknown"},
		{"GET /data/a?policy", nil, "unknown"},
		{"GET /data/a?ACL", nil, "unknown"},
		{"PUT /data/a?partNumber=1", nil, "unknown"},
		{"POST /data", nil, "PreconditionFailed"},
		{"POST /data/a", nil, "unknown"},
		{"HEAD /", nil, "unknown"},
		{"OPTIONS /data/a", nil, "unknown"},
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
		r := call.Request{Method: f[0], URI: f[1], Header: headers(tc.headers...)}
		if len(f) > 2 {
			r.Label = f[2]
		}
		if got := show(Read(r)); got != tc.want {
			t.Errorf("%s %v:\n got %s\nwant %s", tc.request, tc.headers, got, tc.want)
		}
	}
}

func TestContextOfARequest(t *testing.T) {
	c, e := Read(call.Request{Method: "GET", Header: headers("User-Agent: test", "Referer: r"),
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

func TestBulkDeleteIsReadStrictly(t *testing.T) {
	wrap := func(s string) string {
		return `<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + s + `</Delete>`
	}
	for body, want := range map[string]string{
		wrap(`<Object><Key>a &amp; b</Key></Object><Object><Key> c </Key><VersionId>v</VersionId></Object><Quiet>true</Quiet>`): "DeleteObject data/a & b, DeleteObjectVersion data/ c  @v",
		wrap(`<Object><Key><![CDATA[x]]></Key></Object>`):                                                                       "DeleteObject data/x",
		wrap(``):                             "DeleteObject data",
		wrap(`<Object><Key></Key></Object>`): "MalformedXML",
		wrap(`<Object><Key>a</Key><Key>b</Key></Object>`):                                       "MalformedXML",
		wrap(`<Object><Key>a<!-- x -->b</Key></Object>`):                                        "MalformedXML",
		wrap(`<Object><Key>a<b/></Key></Object>`):                                               "MalformedXML",
		wrap(`<object><Key>a</Key></object>`):                                                   "MalformedXML",
		wrap(`<x:Object xmlns:x="y"><Key>a</Key></x:Object>`):                                   "MalformedXML",
		wrap(`<Object><Key>../b</Key></Object>`):                                                "400",
		`<!DOCTYPE d [<!ENTITY e "x">]>` + wrap(`<Object><Key>&e;</Key></Object>`):              "MalformedXML",
		wrap(`<Object><Key>a</Key></Object>`) + wrap(`<Object><Key>b</Key></Object>`):           "MalformedXML",
		`<?xml version="1.0" encoding="UTF-16"?><Delete><Object><Key>a</Key></Object></Delete>`: "MalformedXML",
		wrap(strings.Repeat(`<Object><Key>a</Key></Object>`, 1001)):                             "MalformedXML",
		`<Delete><Object><Key>a</Key></Object>`:                                                 "MalformedXML",
	} {
		if got := show(readBody("POST", "/data?delete", body)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", call.Cut(body, 300), got, want)
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
		r := call.Request{Method: method, URI: uri, Label: bucket, Header: h}
		c, e := Read(r)
		if e != nil {
			return
		}
		for _, k := range c.Checks {
			_, key, _ := strings.Cut(strings.TrimPrefix(k.Resource, "arn:aws:s3:::"), "/")
			if !strings.HasPrefix(k.Action, "s3:") || len(key) > maxKey || key != "" && tidied(key) == "" || strings.HasPrefix(tidied(key), "../") {
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
		if len(r.URI) > call.MaxURI {
			return
		}
		again, e := Read(r)
		if e == nil {
			c.Body, again.Body = nil, nil
		}
		if e != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%q is %s, but %q is %s", uri, show(c, nil), r.URI, show(again, e))
		}
	})
}

// readBody reads a request and its body.
func readBody(method, uri, body string, header ...string) (*call.Call, *call.Error) {
	c, e := Read(call.Request{Method: method, URI: uri, Header: headers(header...), Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	if e != nil || c.Body == nil {
		return c, e
	}
	out, e := c.Body(strings.NewReader(body))
	if e != nil {
		return nil, e
	}
	if sent, err := io.ReadAll(out); err != nil || string(sent) != body {
		return nil, call.Refuse("Changed", "%q %v", sent, err)
	}
	c.Body = nil
	return c, nil
}

func FuzzBulk(f *testing.F) {
	f.Add(`<Delete><Object><Key>a</Key></Object></Delete>`)
	f.Fuzz(func(t *testing.T, body string) {
		c, e := readBody("POST", "/data?delete", body)
		if e == nil && (len(c.Checks) == 0 || len(c.Checks) > maxBulkKeys) {
			t.Fatalf("%d checks", len(c.Checks))
		}
	})
}

func TestBodiesFillInTheContext(t *testing.T) {
	for _, tc := range []struct {
		request, body string
		want          map[string][]string // of the keys that begin so, or nil for MalformedXML
	}{
		{"PUT /data/a?tagging", `<Tagging xmlns="x"><TagSet><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value/></Tag></TagSet></Tagging>`,
			map[string][]string{"s3:RequestObjectTag/k": {"v"}, "s3:RequestObjectTag/l": {""}, "s3:RequestObjectTagKeys": {"k", "l"}}},
		{"PUT /data/a?tagging", `<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>k</Key><Value>w</Value></Tag></TagSet></Tagging>`, nil},
		{"PUT /data/a?tagging", `<tagging><TagSet/></tagging>`, nil},
		{"PUT /data/a?tagging", ``, nil},
		{"PUT /data/a?retention", `<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2026-01-12T03:04:05Z</RetainUntilDate></Retention>`,
			map[string][]string{"s3:object-lock-mode": {"GOVERNANCE"}, "s3:object-lock-retain-until-date": {"2026-01-12T03:04:05Z"}, "s3:object-lock-remaining-retention-days": {"10"}}},
		{"PUT /data/a?legal-hold", `<LegalHold><Status>ON</Status></LegalHold>`, map[string][]string{"s3:object-lock-legal-hold": {"ON"}}},
		{"PUT /data", ``, map[string][]string{}},
		{"PUT /data", `<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags></CreateBucketConfiguration>`,
			map[string][]string{"s3:LocationConstraint": {"eu-west-1"}, "aws:RequestTag/a": {"b"}, "aws:TagKeys": {"a"}}},
		{"PUT /data", `<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>`, nil},
		{"PUT /data?inventory&id=1", `<InventoryConfiguration><Id>1</Id><OptionalFields><Field>Size</Field><Field>ETag</Field></OptionalFields></InventoryConfiguration>`,
			map[string][]string{"s3:InventoryAccessibleOptionalFields": {"Size", "ETag"}}},
	} {
		method, uri, _ := strings.Cut(tc.request, " ")
		c, e := readBody(method, uri, tc.body)
		if e != nil {
			if e.Code != "MalformedXML" && e.Code != "InvalidTag" || tc.want != nil {
				t.Errorf("%s %s: %v", tc.request, tc.body, e)
			}
			continue
		}
		delete(c.Context, "s3:ObjectCreationOperation")
		if tc.want == nil || !reflect.DeepEqual(c.Context, tc.want) {
			t.Errorf("%s %s:\n got %v\nwant %v", tc.request, tc.body, c.Context, tc.want)
		}
	}
	// What is wrong with a body that nobody signed is that.
	signed := "X-Amz-Content-Sha256: " + strings.Repeat("0", 64)
	if _, e := readBody("PUT", "/data/a?tagging", "x", signed); e == nil || e.Code != "XAmzContentSHA256Mismatch" || len(e.Details) != 2 || e.Details[1].Value != "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" {
		t.Errorf("another body: %v", e)
	}
	for _, h := range []string{"Content-Encoding: aws-chunked", "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding: gzip"} {
		if _, e := readBody("PUT", "/data/a?tagging", "x", h); e == nil || e.Code != "NotImplemented" {
			t.Errorf("%s: %v", h, e)
		}
	}
	if _, e := readBody("PUT", "/data/a?tagging", strings.Repeat(" ", maxSmallBody+1)); e == nil || e.Code != call.TooLarge {
		t.Errorf("a large body: %v", e)
	}
	// Many pieces of text cost no more than one.
	if _, e := readBody("POST", "/data?delete", "<Delete>"+strings.Repeat("<![CDATA[ ]]>", maxBulkBody/14)); e == nil {
		t.Error("text beside the objects is taken")
	}
}

func form(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		head, value, _ := strings.Cut(p, "=")
		if !strings.Contains(head, ":") {
			head = `Content-Disposition: form-data; name="` + head + `"`
			if strings.HasSuffix(head, `"file"`) {
				head += `; filename="dir/f.txt"`
			}
		} else {
			head = strings.ReplaceAll(head, "~", "=")
		}
		b.WriteString("--B\r\n" + head + "\r\n\r\n" + value + "\r\n")
	}
	return b.String() + "--B--\r\n"
}

func TestPostedFormsAreReadUpToTheFile(t *testing.T) {
	const credential = "x-amz-credential=AK/20260101/us-east-1/s3/aws4_request"
	for _, tc := range []struct{ body, want string }{
		{form("key=a/b", credential, "file=data"), "PutObject data/a/b"},
		{form("key=a/b", "file="), "PutObject data/a/b"},
		{form("key=a\r\nb", "file=data"), "PutObject data/a\r\nb"},
		{form("Key=up/${filename}", "acl=public-read", "file=data"), "PutObject data/up/${filename}, PutObjectAcl data/up/${filename}"},
		{form("key=a", "tagging=<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>", "x-amz-object-lock-mode=COMPLIANCE", "file=x"),
			"PutObject data/a, PutObjectRetention data/a, PutObjectTagging data/a"},
		{form("key=a", "bucket=other", "file=x"), "InvalidArgument"},
		{form("key=a", "key=b", "file=x"), "MalformedPOSTRequest"},
		{form("key=a", "KEY=b", "file=x"), "MalformedPOSTRequest"},
		{form("file=x", "key=a"), "InvalidArgument"},
		{form("key=../other/x", "file=x"), "400"},
		{form("key=a", "awsaccesskeyid=AK", credential, "file=x"), "InvalidArgument"},
		{form("key=a", `Content-Disposition: form-data; name~"x"; filename~"y"=f`, "file=x"), "MalformedPOSTRequest"},
		{form("key=a", `Content-Disposition: form-data; name~"key"; filename*~"utf-8''y"=f`, "file=x"), "MalformedPOSTRequest"},
		{form("key=a", "Content-Disposition: form-data;\r\n name~\"key\"=f", "file=x"), "MalformedPOSTRequest"},
		{form("key=a"), "MalformedPOSTRequest"},
		{strings.ReplaceAll(form("key=a", "file=x"), "\r\n", "\n"), "MalformedPOSTRequest"},
		// What others would read after the file never gets there.
		{form("key=a", "file=x", "key=b"), "Changed"},
		{strings.Replace(form("key=a", "file=x"), "--B--", "--B --", 1), "Changed"},
		{form("key=a", "file=x\r\n--B--x"), "Changed"},
		{strings.TrimSuffix(form("key=a", "file=x"), "--B--\r\n"), "Changed"},
		{form("key=a", "file=x\r\r\n-\r\n--A\r\n--"), "PutObject data/a"},
	} {
		c, e := readBody("POST", "/data", tc.body, "Content-Type: multipart/form-data; boundary=B")
		if got := show(c, e); got != tc.want {
			t.Errorf("%q:\n got %s\nwant %s", tc.body, got, tc.want)
		}
	}
	c, e := readBody("POST", "/data", form("key=up/${filename}", credential, "x-amz-algorithm=AWS4-HMAC-SHA256", "file=data"), "Content-Type: multipart/form-data; boundary=B")
	if e != nil {
		t.Fatal(e)
	}
	for _, key := range []string{"up/f.txt", "up/dir/f.txt"} {
		if !slices.Contains(c.Checks[0].Also, "arn:aws:s3:::data/"+key) {
			t.Errorf("%s is not among %v", key, c.Checks[0].Also)
		}
	}
	if c.Claim.KeyID != "AK" || c.Context["s3:authType"][0] != "POST" || c.Context["s3:ObjectCreationOperation"][0] != "true" {
		t.Errorf("%+v %v", c.Claim, c.Context)
	}
	if _, e := readBody("POST", "/data", "", "Content-Type: text/plain"); e == nil || e.Status != 412 {
		t.Errorf("no form: %v", e)
	}
}
