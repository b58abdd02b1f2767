// SPDX-License-Identifier: Apache-2.0

package edge

import (
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

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/vpc"
)

// exchange is one request on its way.
type exchange struct {
	server *Server
	state  *state
	ep     *endpoint
	id     Identity
	conn   *conn
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
	x := &exchange{server: s, state: s.state.Load(), id: c.id, conn: c}
	x.ep = x.state.endpoint(c.id)
	if x.ep == nil {
		c.Close() // the endpoint went while the request came
		return
	}
	x.begin(r, began)
	in := &countingBody{ReadCloser: r.Body, length: r.ContentLength, control: http.NewResponseController(w), stall: s.limits.stall}
	// In a copy: by the type of its own request's body, net/http knows whether the
	// client still waits for "100 Continue", and then does not wait for the body.
	r = r.WithContext(r.Context())
	r.Body, x.in = in, in
	if x.ep.service.protocol.read == nil {
		s.log.Error("the protocol of a service is not served here", "service", x.ep.service.Name, "protocol", x.ep.service.Protocol)
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	// Deadlines of the connection's previous request may still stand.
	in.control.SetWriteDeadline(time.Time{})
	out := &countingWriter{ResponseWriter: w, control: in.control, stall: s.limits.stall}
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler {
			p = x.panicked(out, r, p)
		}
		x.rec.Status, x.rec.BytesIn, x.rec.BytesOut = out.status, in.n.Load(), out.n
		x.rec.DurationMS = time.Since(began).Milliseconds()
		x.rec.bound()
		s.record(x.rec)
		if p != nil {
			panic(p)
		}
	}()
	if e := x.handle(out, r, began); e != nil {
		if x.rec.Decision == "" {
			x.rec.Decision, x.rec.Reason = DecisionInvalid, e.Error()
		}
		x.refuse(out, r, e)
	}
}

// refuse answers with an error in the service's format.
func (x *exchange) refuse(w http.ResponseWriter, r *http.Request, e *call.Error) {
	x.ep.service.protocol.writeError(w, r, e, x.rec.RequestID, x.hostID)
}

// begin fills the record with what is known of any request.
func (x *exchange) begin(r *http.Request, now time.Time) {
	x.rec = Record{
		Time: now.UTC(), Endpoint: string(x.ep.ID), VPC: string(x.ep.VPC), Service: x.ep.service.Name,
		Client: x.id.Client.String(), Method: r.Method, Host: r.Host, UserAgent: r.UserAgent(), Secure: r.TLS != nil,
		Judgement: Judgement{Statement: -1},
	}
	x.rec.RequestID, x.hostID = newRequestID()
	if i, ok := x.state.interfaces[x.id.Interface]; ok {
		x.rec.Interface, x.rec.InterfaceOwner = string(i.ID), string(i.Owner)
	}
}

// handle judges a request and passes it on; an error is the answer if nothing
// was sent yet.
func (x *exchange) handle(w *countingWriter, r *http.Request, now time.Time) *call.Error {
	svc := x.ep.service
	label, ok := hostLabel(r.Host, svc.PublicNames, x.ep.ID, svc.Name, x.state.region)
	if !ok || label != "" && !svc.protocol.labels {
		return call.Refuse(call.InvalidRequest, "The Host header does not name the service %s.", svc.ServiceName)
	}
	c, e := svc.protocol.read(call.Request{
		Method: r.Method, URI: r.RequestURI, Label: label, Header: r.Header, Region: x.state.region, Now: now,
		Account: func(keyID string) string { return string(x.state.account(keyID)) },
	}, svc)
	if e != nil {
		return e
	}
	x.note(c)
	if c.Body != nil {
		held := &heldBody{Reader: r.Body, budget: &x.server.held, vni: x.id.VNI}
		defer held.release()
		body, e := c.Body(held)
		held.free = true
		if e != nil {
			if x.in.stalled.Load() {
				return call.ErrTimeout
			}
			return e
		}
		x.note(c)
		r.Body = replacedBody{body, r.Body}
	}
	if e := x.judge(c, r, now); e != nil {
		return e
	}
	if len(svc.pool.members) == 0 {
		x.rec.Error = "the service has no backend"
		return call.ErrUnavailable
	}
	return x.proxy(w, r, c)
}

// note puts a call's own action in the record.
func (x *exchange) note(c *call.Call) {
	own := c.Checks[0]
	x.rec.Bucket, x.rec.Key, x.rec.Action, x.rec.Resource = c.Bucket, c.Key, own.Action, own.Resource
	x.rec.AccessKey = c.Claim.KeyID
}

// replacedBody is what is sent on of a body.
type replacedBody struct {
	io.Reader
	io.Closer
}

// context completes the request context of IAM: on top of what the request says
// of itself, what the edge knows. aws:SourceIp is absent, as for every call
// through an endpoint.
func (x *exchange) context(c *call.Call, account vpc.AccountID, principal string, u *user, r *http.Request, now time.Time) {
	ctx, set := c.Context, c.Set
	set("aws:SourceVpce", string(x.ep.ID))
	set("aws:SourceVpc", string(x.ep.VPC))
	set("aws:VpcSourceIp", x.id.Client.Addr().Unmap().String())
	set("aws:VpceAccount", string(x.ep.Owner))
	set("aws:SourceVpcArn", x.vpcARN())
	set("aws:SecureTransport", strconv.FormatBool(r.TLS != nil))
	if r.TLS != nil {
		set(x.ep.service.protocol.namespace+":TlsVersion", map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[r.TLS.Version])
	}
	set("aws:CurrentTime", now.UTC().Format(time.RFC3339))
	set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	region := c.Claim.Region
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
}

// proxy passes a request on as it came.
func (x *exchange) proxy(w *countingWriter, r *http.Request, c *call.Call) *call.Error {
	pool := x.ep.service.pool
	if x.ep.service.Identity == vpc.IdentityHeader && x.ep.service.key == nil {
		x.rec.Error = "there is no key to tell the backend who calls"
		return call.ErrUnavailable
	}
	target, e := rawURL(r)
	if e != nil {
		return e
	}
	p := &httputil.ReverseProxy{
		// Answers of unknown length are passed on as they come, by themselves; of
		// a known one, header and body go out together where they fit.
		Transport: &balanced{pool: pool, via: func(b *backend) http.RoundTripper { return x.transport(b) }},
		ErrorLog:  log.New(io.Discard, "", 0), // errors are in the record
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = target, pr.In.Host
			pr.Out.Trailer = nil               // fields that came after everything was judged
			call.DropOverriding(pr.Out.Header) // unsigned: signed ones were refused
			if key := x.ep.service.key; key != nil {
				pr.Out.Header.Set(call.HeaderIdentity, x.identity(key, pr.In))
			}
			if pool.members[0].local { // then it is the only one
				setOrigin(pr.Out, c)
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			x.rec.BackendRequestID = resp.Header.Get("X-Amz-Request-Id")
			if x.rec.BackendRequestID == "" {
				x.rec.BackendRequestID = resp.Header.Get("X-Amzn-Requestid")
			}
			if done := x.answered(c, resp.StatusCode); done != nil {
				resp.Body = &answer{ReadCloser: resp.Body, status: resp.StatusCode, done: done}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			x.rec.Error = err.Error()
			answer := call.ErrUnavailable
			if errors.Is(err, errAllDown) {
				w.Header().Set("Retry-After", strconv.Itoa(pool.spec.check.Interval))
			}
			if x.in.stalled.Load() {
				answer = call.ErrTimeout
			}
			x.refuse(w, r, answer)
		},
	}
	// By itself, net/http reads away what is left of a body, and closes it, before
	// it sends an answer's header. The body is still the backend's: one that answers
	// early would get it with a piece missing, and a last read that finds it closed
	// ends the backend's connection, and with it the answer.
	if err := x.in.control.EnableFullDuplex(); err != nil {
		x.rec.Error = err.Error()
		return call.ErrUnavailable
	}
	if r.ProtoMajor == 1 {
		w.rest = x.in
	}
	// With a server in the context, the proxy panics with ErrAbortHandler when
	// the backend breaks off in the middle of a body; net/http then ends the
	// client's connection, which is how it learns that the body is not whole.
	p.ServeHTTP(w, r)
	return nil
}

// rawURL has path and query of the request line, byte for byte: what is signed is
// how it was written. Scheme and host are those of the backend that gets it.
func rawURL(r *http.Request) (*url.URL, *call.Error) {
	path, query, hasQuery := strings.Cut(r.RequestURI, "?")
	u := &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query, ForceQuery: hasQuery && query == ""}
	if u.EscapedPath() != path {
		// Bytes that Go would write differently. An opaque path goes out as
		// it is, but one that starts with two slashes would be taken for a host.
		if strings.HasPrefix(path, "//") {
			return nil, call.ErrURI
		}
		u.Opaque = path
	}
	return u, nil
}

func (x *exchange) vpcARN() string {
	owner := x.state.vpcOwners[x.ep.VNI]
	if owner == "" {
		return ""
	}
	return fmt.Sprintf("arn:aws:ec2:%s:%s:vpc/%s", x.state.region, owner, x.ep.VPC)
}

// maxAnswer bounds an answer that a protocol wants to see.
const maxAnswer = 1 << 20

// answer passes an answer on and keeps it for the protocol.
type answer struct {
	io.ReadCloser
	status int
	kept   []byte
	done   func(status int, body []byte)
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if a.done == nil {
		return n, err
	}
	if len(a.kept)+n > maxAnswer {
		a.done, a.kept = nil, nil
		return n, err
	}
	a.kept = append(a.kept, p[:n]...)
	if err == io.EOF {
		a.done(a.status, a.kept)
		a.done, a.kept = nil, nil
	}
	return n, err
}

// countingBody counts a request body and gives up on a client that stalls.
type countingBody struct {
	io.ReadCloser
	length  int64 // -1: not known before its end
	control *http.ResponseController
	stall   time.Duration
	n       atomic.Int64
	ended   atomic.Bool
	stalled atomic.Bool
}

// whole reports whether all of it has been read.
func (b *countingBody) whole() bool { return b.ended.Load() || b.length >= 0 && b.n.Load() >= b.length }

func (b *countingBody) Read(p []byte) (int, error) {
	b.control.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.stalled.Store(true)
	case err == io.EOF:
		b.ended.Store(true)
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
	stall   time.Duration
	status  int
	n       int64
	// rest is the body of an HTTP/1 request that may go on after its answer. If it
	// does, the connection ends with that: net/http would read the rest only when it
	// waits for the next request, and panics then.
	rest *countingBody
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// metadata starts a header that holds a piece of an object's metadata.
const metadata = "X-Amz-Meta-"

// lowerMetadata writes names of metadata in small letters, as S3 does: to clients
// they are keys of a map, not headers, so that the way Go writes headers would
// change them.
func lowerMetadata(h http.Header) {
	for name, values := range h {
		if strings.HasPrefix(name, metadata) {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

func (w *countingWriter) WriteHeader(status int) {
	lowerMetadata(w.Header())
	if status >= 200 && w.status == 0 {
		w.status = status
		if w.rest != nil && !w.rest.whole() {
			w.Header().Set("Connection", "close")
		}
	}
	w.control.SetWriteDeadline(time.Now().Add(w.stall))
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.control.SetWriteDeadline(time.Now().Add(w.stall))
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}
