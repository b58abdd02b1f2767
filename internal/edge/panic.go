// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"postern.dev/postern/internal/edge/call"
)

// panicEvery is how often a panic is logged with its stack at most: a request that
// makes one can be sent again and again. All are counted, and in the records.
const panicEvery = time.Second

// panics counts panics of handlers.
type panics struct {
	mu   sync.Mutex
	n    int       // guarded by mu
	said time.Time // when one was last logged; guarded by mu
}

// add counts one; say is set if it should be logged.
func (p *panics) add(now time.Time) (n int, say bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if say = now.Sub(p.said) >= panicEvery; say {
		p.said = now
	}
	return p.n, say
}

// panicked ends a request whose handler panicked with v: the client gets an error
// of the service's, or, if an answer has begun, a connection that breaks off. It
// returns what to go on panicking with. It is called while the panic unwinds.
func (x *exchange) panicked(w *countingWriter, r *http.Request, v any) any {
	if n, say := x.server.panics.add(time.Now()); say {
		x.server.log.Error("a handler panicked", "request", x.rec.RequestID, "service", x.rec.Service, "endpoint", x.rec.Endpoint,
			"panic", fmt.Sprint(v), "panics", n, "stack", string(debug.Stack()))
	}
	x.rec.Error = fmt.Sprintf("panic: %v", v)
	if x.rec.Decision == "" {
		x.rec.Decision, x.rec.Reason = DecisionInvalid, call.ErrInternal.Error()
	}
	if w.status != 0 {
		return http.ErrAbortHandler
	}
	for name := range w.Header() {
		w.Header().Del(name) // of an answer that was never sent
	}
	w.Header().Set("Connection", "close") // nobody knows how far the request was read
	x.refuse(w, r, call.ErrInternal)
	return nil
}

// serverLog takes what net/http's servers log: mostly what clients do wrong, and
// panics that no request can be blamed for.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	if text := string(bytes.TrimSpace(line)); bytes.Contains(line, []byte("panic serving")) {
		l.log.Error("a connection's handler panicked", "error", text)
	} else {
		l.log.Debug(text)
	}
	return len(line), nil
}
