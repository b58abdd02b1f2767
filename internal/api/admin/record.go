// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"postern.dev/postern/internal/audit"
	"postern.dev/postern/internal/control"
)

type peerKey struct{}

// WithPeer says who is at the other end of a connection, for the records of
// its calls: http.Server.ConnContext is the place to call it.
func WithPeer(ctx context.Context, peer string) context.Context {
	return context.WithValue(ctx, peerKey{}, peer)
}

// recording is a call of the operator's on its way.
type recording struct {
	r      *http.Request
	action string
	start  time.Time
	body   bytes.Buffer // what was read of the body
}

// begin starts to record: the body is kept as the handler reads it.
func begin(r *http.Request, action string) *recording {
	rec := &recording{r: r, action: action, start: time.Now()}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, &rec.body), r.Body}
	return rec
}

// end is the record of a call with this answer or error.
func (rec *recording) end(answer any, err error, status int) *audit.Record {
	r := rec.r
	peer, _ := r.Context().Value(peerKey{}).(string)
	out := &audit.Record{
		Time: rec.start.UTC(), RequestID: rand.Text(), AccountName: operator.Name, Source: peer, UserAgent: r.UserAgent(),
		Service: audit.ServiceOperator, Action: rec.action, Write: r.Method != http.MethodGet, Status: status,
		DurationMS: float64(time.Since(rec.start).Microseconds()) / 1000,
	}
	if rec.action == "" {
		out.Action = r.Method + " " + r.URL.Path
	}
	p := rec.parameters()
	out.Parameters, out.ParametersLeftOut = audit.Parameters(slices.Sorted(maps.Keys(p)), func(n string) string { return p[n] })
	if err != nil {
		if out.ErrorCode = string(control.KindOf(err)); out.ErrorCode == "" {
			out.ErrorCode = "InternalError"
		}
		out.ErrorMessage = err.Error()
	} else if out.Write {
		if b, err := json.Marshal(answer); err == nil {
			out.Resources = audit.ResourcesIn(b)
		}
	}
	return out
}

// parameters are the members of the body, the query and the path, by name.
func (rec *recording) parameters() map[string]string {
	out := map[string]string{}
	for k, v := range rec.r.URL.Query() {
		out[k] = v[0]
	}
	for _, k := range []string{"id", "name"} {
		if v := rec.r.PathValue(k); v != "" {
			out[k] = v
		}
	}
	var body any
	if json.Unmarshal(rec.body.Bytes(), &body) == nil {
		flatten("", body, 0, out)
	} else if n := rec.body.Len(); n > 0 {
		out["body"] = fmt.Sprintf("(%d bytes that are no JSON)", n)
	}
	return out
}

// maxDepth bounds how deep flatten looks.
const maxDepth = 8

// flatten names every value of a JSON document by its path: workload.netns, groups.1.
func flatten(name string, v any, depth int, out map[string]string) {
	if depth > maxDepth {
		out[name] = "(more inside)"
		return
	}
	below := func(piece string) string {
		if name == "" {
			return piece
		}
		return name + "." + piece
	}
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			flatten(below(k), x, depth+1, out)
		}
	case []any:
		for i, x := range v {
			flatten(below(strconv.Itoa(i+1)), x, depth+1, out)
		}
	default:
		out[name] = fmt.Sprint(v)
	}
}
