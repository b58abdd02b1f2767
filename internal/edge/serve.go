// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"postern.dev/postern/internal/policy"
	"postern.dev/postern/internal/vpc"
)

// exchange is one request on its way.
type exchange struct {
	server *Server
	state  *state
	ep     *endpoint
	id     Identity
	in     *countingBody
	rec    Record
	hostID string
}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	x := &exchange{server: s, state: s.state.Load(), id: c.id}
	x.ep = x.state.endpoint(c.id)
	if x.ep == nil {
		c.Close() // the endpoint went while the request came
		return
	}
	x.begin(r, began)
	in := &countingBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
	r.Body, x.in = in, in
	// Deadlines of the connection's previous request may still stand.
	in.control.SetWriteDeadline(time.Time{})
	out := &countingWriter{ResponseWriter: w, control: in.control}
	defer func() {
		x.rec.Status, x.rec.BytesIn, x.rec.BytesOut = out.status, in.n.Load(), out.n
		x.rec.DurationMS = time.Since(began).Milliseconds()
		x.rec.bound()
		s.record(x.rec)
	}()
	if e := x.handle(out, r, began); e != nil {
		if x.rec.Decision == "" {
			x.rec.Decision, x.rec.Reason = DecisionInvalid, e.Error()
		}
		e.write(out, r.Method, r.URL.Path, x.rec.RequestID, x.hostID)
	}
}

// begin fills the record with what is known of any request.
func (x *exchange) begin(r *http.Request, now time.Time) {
	x.rec = Record{
		Time: now.UTC(), Endpoint: string(x.ep.ID), VPC: string(x.ep.VPC), Service: x.ep.service.Name,
		Client: x.id.Client.String(), Method: r.Method, Host: r.Host, UserAgent: r.UserAgent(), Secure: r.TLS != nil,
		Statement: -1,
	}
	x.rec.RequestID, x.hostID = newRequestID()
	if i, ok := x.state.interfaces[x.id.Interface]; ok {
		x.rec.Interface, x.rec.InterfaceOwner = string(i.ID), string(i.Owner)
	}
}

// handle judges a request and passes it on; an error is the answer if nothing
// was sent yet.
func (x *exchange) handle(w *countingWriter, r *http.Request, now time.Time) *s3Error {
	if x.ep.service.Protocol != "s3" {
		return &s3Error{http.StatusNotImplemented, "NotImplemented", fmt.Sprintf("The protocol of service %s is not served here.", x.ep.service.Name)}
	}
	bucket, ok := s3Host(r.Host, x.ep.service.PublicNames, x.ep.ID, x.ep.service.Name, x.state.region)
	if !ok {
		return refuse("InvalidRequest", "The Host header names neither the service %s nor one of its buckets.", x.ep.service.ServiceName)
	}
	call, e := classifyS3(s3Request{Method: r.Method, URI: r.RequestURI, Bucket: bucket, Header: r.Header})
	if e != nil {
		if e.Status == http.StatusForbidden {
			x.rec.Decision, x.rec.Reason = DecisionDeny, e.Message
		}
		return e
	}
	own := call.Checks[0]
	x.rec.Bucket, x.rec.Key, x.rec.Action, x.rec.Resource = call.Bucket, call.Key, own.Action, own.resource()
	if call.Bulk {
		body, checks, e := readBulk(r, call.Bucket)
		if e != nil {
			return e
		}
		for _, extra := range call.Checks[1:] { // BypassGovernanceRetention: for each object
			for _, c := range checks {
				checks = append(checks, s3Check{extra.Action, c.Bucket, c.Key, c.VersionID})
			}
		}
		call.Checks = checks
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	if e := x.judge(call, r, now); e != nil {
		return e
	}
	if x.ep.service.backend == nil {
		x.rec.Error = "the service has no backend"
		return errS3Unavailable
	}
	return x.proxy(w, r)
}

// judge asks the endpoint's policy about all checks of a call. The record names
// the decision on the first that is denied, or on the call's own.
func (x *exchange) judge(call *s3Call, r *http.Request, now time.Time) *s3Error {
	principal, account, u := call.Claim.principal(x.state.keys, x.state.users)
	x.rec.AccessKey, x.rec.Principal = call.Claim.KeyID, principal
	if x.ep.policy == nil {
		x.rec.Decision, x.rec.Reason = DecisionDeny, x.ep.badText
		return policyDenied(principal, call.Checks[0], false)
	}
	req := policy.Request{
		Principal: principal, Account: string(account), Context: x.context(call, account, principal, u, r, now),
		GatewayEndpoint: x.ep.Type == vpc.GatewayEndpoint,
	}
	for i, check := range call.Checks {
		delete(req.Context, "s3:VersionId")
		if check.VersionID != "" {
			req.Context["s3:VersionId"] = []string{check.VersionID}
		}
		readings := []s3Check{check}
		if t := tidied(check.Key); check.Key != "" && t != check.Key {
			readings = append(readings, s3Check{check.Action, check.Bucket, t, check.VersionID})
		}
		for j, reading := range readings {
			req.Action, req.Resource = reading.Action, reading.resource()
			d := x.ep.policy.Evaluate(req)
			if i == 0 && j == 0 || !d.Allowed {
				x.rec.Statement, x.rec.Sid, x.rec.Condition, x.rec.Reason = d.Statement, d.Sid, d.Condition, d.Reason
			}
			if !d.Allowed {
				x.rec.Decision, x.rec.Action, x.rec.Resource = DecisionDeny, reading.Action, reading.resource()
				return policyDenied(principal, check, d.Explicit)
			}
			if u == nil {
				continue
			}
			if explicit, reason := u.denies(req); reason != "" {
				x.rec.Statement, x.rec.Sid, x.rec.Condition, x.rec.Reason = -1, "", "", reason
				x.rec.Decision, x.rec.Action, x.rec.Resource = DecisionDeny, reading.Action, reading.resource()
				return notAuthorized(principal, check, "identity-based", explicit)
			}
		}
	}
	x.rec.Decision = DecisionAllow
	return nil
}

// denies asks a user's own policies. The backend cannot: to it every key of an
// account is that account. reason is "" for what they allow.
func (u *user) denies(req policy.Request) (explicit bool, reason string) {
	if u.badText != "" {
		return false, u.badText
	}
	reason = "no identity-based policy of " + u.ARN + " allows it"
	for _, p := range u.policies {
		d := p.Evaluate(req)
		if d.Explicit {
			return true, "an identity-based policy of " + u.ARN + ": " + d.Reason
		}
		if d.Allowed {
			reason = ""
		}
	}
	return false, reason
}

// policyDenied is S3's answer to what an endpoint policy does not allow.
func policyDenied(principal string, c s3Check, explicit bool) *s3Error {
	return notAuthorized(principal, c, "VPC endpoint", explicit)
}

// notAuthorized is S3's answer to what a kind of policy does not allow.
func notAuthorized(principal string, c s3Check, kind string, explicit bool) *s3Error {
	who := principal
	if who == "" {
		who = "anonymous"
	}
	why := "because no " + kind + " policy allows the " + c.Action + " action"
	if explicit {
		article := "a "
		if kind == "identity-based" {
			article = "an "
		}
		why = "with an explicit deny in " + article + kind + " policy"
	}
	return &s3Error{http.StatusForbidden, "AccessDenied",
		fmt.Sprintf("User: %s is not authorized to perform: %s on resource: \"%s\" %s", who, c.Action, c.resource(), why)}
}

// context is the request context of IAM: what the request says of itself and,
// on top, what the edge knows. aws:SourceIp is absent, as for every call
// through an endpoint.
func (x *exchange) context(call *s3Call, account vpc.AccountID, principal string, u *user, r *http.Request, now time.Time) map[string][]string {
	ctx := call.Context
	set := func(key, value string) {
		if value != "" {
			ctx[key] = []string{value}
		}
	}
	set("aws:SourceVpce", string(x.ep.ID))
	set("aws:SourceVpc", string(x.ep.VPC))
	set("aws:VpcSourceIp", x.id.Client.Addr().Unmap().String())
	set("aws:VpceAccount", string(x.ep.Owner))
	if owner := x.state.vpcOwners[x.ep.VNI]; owner != "" {
		set("aws:SourceVpcArn", fmt.Sprintf("arn:aws:ec2:%s:%s:vpc/%s", x.state.region, owner, x.ep.VPC))
	}
	set("aws:SecureTransport", strconv.FormatBool(r.TLS != nil))
	if r.TLS != nil {
		set("s3:TlsVersion", map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[r.TLS.Version])
	}
	set("aws:CurrentTime", now.UTC().Format(time.RFC3339))
	set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	region := call.Claim.Region
	if region == "" {
		region = x.state.region
	}
	set("aws:RequestedRegion", region)
	set("aws:ViaAWSService", "false")
	set("aws:PrincipalIsAWSService", "false")
	if principal != "" {
		// An account's own keys sign as its root user, whose userid is the
		// account and who has no username.
		set("aws:PrincipalArn", principal)
		set("aws:PrincipalAccount", string(account))
		set("aws:PrincipalType", "Account")
		set("aws:userid", string(account))
		if u != nil {
			set("aws:PrincipalType", "User")
			set("aws:userid", string(u.ID))
			set("aws:username", u.Name)
			for k, v := range u.Tags {
				ctx["aws:PrincipalTag/"+k] = []string{v}
			}
		}
	} else {
		set("aws:PrincipalType", "Anonymous")
		set("aws:userid", "anonymous")
	}
	return ctx
}

// proxy passes a request on as it came.
func (x *exchange) proxy(w *countingWriter, r *http.Request) *s3Error {
	b := x.ep.service.backend
	target, e := rawURL(r, b)
	if e != nil {
		return e
	}
	p := &httputil.ReverseProxy{
		Transport:     b.transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // errors are in the record
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = target, pr.In.Host
			for _, h := range overriding {
				pr.Out.Header.Del(h) // unsigned: classifyS3 refuses signed ones
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			x.rec.BackendRequestID = resp.Header.Get("X-Amz-Request-Id")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			x.rec.Error = err.Error()
			answer := errS3Unavailable
			if errors.Is(err, os.ErrDeadlineExceeded) && x.in.stalled.Load() {
				answer = errS3Timeout
			}
			answer.write(w, r.Method, r.URL.Path, x.rec.RequestID, x.hostID)
		},
	}
	// With a server in the context, the proxy panics with ErrAbortHandler when
	// the backend breaks off in the middle of a body; net/http then ends the
	// client's connection, which is how it learns that the body is not whole.
	p.ServeHTTP(w, r)
	return nil
}

// rawURL is the backend's URL with path and query of the request line, byte for
// byte: what is signed is how it was written.
func rawURL(r *http.Request, b *backend) (*url.URL, *s3Error) {
	path, query, hasQuery := strings.Cut(r.RequestURI, "?")
	u := &url.URL{Scheme: b.scheme, Host: b.host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query, ForceQuery: hasQuery && query == ""}
	if u.EscapedPath() != path {
		// Bytes that Go would write differently. An opaque path goes out as
		// it is, but one that starts with two slashes would be taken for a host.
		if strings.HasPrefix(path, "//") {
			return nil, errS3URI
		}
		u.Opaque = path
	}
	return u, nil
}

// countingBody counts a request body and gives up on a client that stalls.
type countingBody struct {
	io.ReadCloser
	control *http.ResponseController
	n       atomic.Int64
	stalled atomic.Bool
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.control.SetReadDeadline(time.Now().Add(stallTimeout))
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.stalled.Store(true)
	case err == io.EOF:
		// The server watches the connection from now on: it may be silent for
		// as long as the backend takes.
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// countingWriter counts an answer and gives up on a client that stalls.
type countingWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	n       int64
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}
