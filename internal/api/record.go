// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"postern.dev/postern/internal/api/awsquery"
	"postern.dev/postern/internal/api/sigv4"
	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
)

// maxAnswer bounds how much of an answer is looked at for ids.
const maxAnswer = 64 << 10

// call is one request on its way: the writer of its answer, and what is known
// of it for its record.
type call struct {
	http.ResponseWriter
	r       *http.Request
	id      string
	start   time.Time
	service string          // as far as it can be told
	form    *awsquery.Form  // nil if it could not be read
	ident   sigv4.Identity  // of a signature that holds, as is caller
	caller  *control.Caller // nil if nobody's

	status        int // 0: nothing was answered yet
	code, message string
	answer        bytes.Buffer // the beginning of a writing call's answer
}

var _ awsquery.ErrorObserver = (*call)(nil)

// ObserveError implements awsquery.ErrorObserver.
func (c *call) ObserveError(code, message string) { c.code, c.message = code, message }

// WriteHeader implements http.ResponseWriter.
func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *call) Write(b []byte) (int, error) {
	if c.status/100 == 2 && c.form != nil && !audit.IsRead(c.form.Action) {
		c.answer.Write(b[:min(len(b), maxAnswer-c.answer.Len())])
	}
	return c.ResponseWriter.Write(b)
}

func (s *Server) begin(w http.ResponseWriter, r *http.Request) *call {
	return &call{ResponseWriter: w, r: r, id: newRequestID(), start: time.Now()}
}

// end records the call. It must be deferred: a call that panicked is answered
// as any internal error, and the server goes on.
func (s *Server) end(c *call) {
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		s.log.Error("a call panicked", "request", c.id, "service", c.service, "action", c.action(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if c.status == 0 {
			fail(c, c.service, c.id, internalError(c.service))
			p = nil
		}
	}
	if s.Audit != nil {
		s.Audit(c.record())
	}
	if p != nil {
		// The answer has begun: only a broken connection says that it is not whole.
		panic(http.ErrAbortHandler)
	}
}

func (c *call) action() string {
	if c.form == nil {
		return ""
	}
	return c.form.Action
}

func (c *call) record() *audit.Record {
	action := c.action()
	claimed, _, region, _ := sigv4.AccessKeyFromRequest(c.r)
	h := c.r.Header
	r := &audit.Record{
		Time: c.start.UTC(), RequestID: c.id, Source: c.r.RemoteAddr, UserAgent: h.Get("User-Agent"),
		Service: c.service, Action: action, Region: region, Write: !audit.IsRead(action),
		ErrorCode: c.code, ErrorMessage: c.message, Status: c.status,
		DurationMS:   float64(time.Since(c.start).Microseconds()) / 1000,
		InvocationID: h.Get("amz-sdk-invocation-id"), Attempt: h.Get("amz-sdk-request"),
	}
	if c.form != nil {
		r.DryRun = c.form.Get("DryRun") == "true"
	}
	switch {
	case c.caller != nil:
		r.Account, r.AccountName, r.Principal = string(c.caller.Account), c.caller.Name, c.caller.ARN
		r.AccessKey = c.ident.AccessKeyID
		r.Parameters, r.ParametersLeftOut = audit.Parameters(c.form.Names(), c.form.Get)
		r.Resources = audit.ResourcesIn(c.answer.Bytes())
	default:
		// Whoever sent it has shown no right to fill the log.
		r.ClaimedAccessKey = claimed
		if c.form != nil {
			r.ParametersLeftOut = c.form.Len()
		}
	}
	return r
}
