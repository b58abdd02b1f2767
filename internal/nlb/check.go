// SPDX-License-Identifier: Apache-2.0

package nlb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"postern.dev/postern/internal/desired"
)

const (
	defaultMatcher = "200-399"
	userAgent      = "ELB-HealthChecker/2.0"
	maxHeaders     = 64 << 10
)

// checker does one probe's check.
type checker struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	address string // where to connect
	// For HTTP and HTTPS; url is nil for TCP.
	url     *url.URL
	host    string
	matcher matcher
}

func newChecker(p desired.Probe, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*checker, error) {
	port := strconv.Itoa(p.Port)
	c := &checker{dial: dial, address: net.JoinHostPort(p.Via.String(), port)}
	if p.ProxyProtocol {
		c.dial = announced(dial)
	}
	switch p.Check.Protocol {
	case "TCP":
		return c, nil
	case "HTTP", "HTTPS":
	default:
		return nil, fmt.Errorf("health check protocol %q is unknown, use TCP, HTTP or HTTPS", p.Check.Protocol)
	}
	path := p.Check.Path
	if path == "" {
		path = "/"
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil, fmt.Errorf("health check path %q is not a path", path)
	}
	text := p.Check.Matcher
	if text == "" {
		text = defaultMatcher
	}
	if c.matcher, err = parseMatcher(text); err != nil {
		return nil, err
	}
	// An NLB names itself and the port it listens on, not the target's.
	c.host = net.JoinHostPort(p.Node.String(), strconv.Itoa(p.ListenerPort))
	u.Scheme, u.Host = strings.ToLower(p.Check.Protocol), c.host
	c.url = u
	return c, nil
}

// proxyLocal is a PROXY protocol version 2 header that says LOCAL: the
// connection is the sender's own, nobody is behind it.
const proxyLocal = "\r\n\r\n\x00\r\nQUIT\n" + "\x20\x00\x00\x00"

// announced is dial for targets that expect a PROXY protocol header before
// anything else: each connection begins with one.
func announced(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if at, ok := ctx.Deadline(); ok {
			err = conn.SetWriteDeadline(at)
		}
		if err == nil {
			_, err = conn.Write([]byte(proxyLocal))
		}
		if err == nil {
			err = conn.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// do checks once, until ctx ends at the latest.
func (c *checker) do(ctx context.Context) outcome {
	if c.url == nil {
		conn, err := c.dial(ctx, "tcp", c.address)
		if err != nil {
			return failed(ctx, err)
		}
		conn.Close()
		return outcome{}
	}
	// A transport for each check: every check is a new connection, as an NLB's.
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.dial(ctx, "tcp", c.address)
		},
		// An NLB does not validate the certificates of targets.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaders,
	}
	defer transport.CloseIdleConnections()
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    c.url,
		Host:   c.host,
		Header: http.Header{"User-Agent": {userAgent}},
	}).WithContext(ctx)
	resp, err := transport.RoundTrip(req) // unlike a client, it follows no redirect
	if err != nil {
		return failed(ctx, err)
	}
	resp.Body.Close() // the status is all that counts
	if !c.matcher.match(resp.StatusCode) {
		return outcome{ReasonMismatch, fmt.Sprintf("Health checks failed with these codes: [%d]", resp.StatusCode)}
	}
	return outcome{}
}

func failed(ctx context.Context, err error) outcome {
	var ne net.Error
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return outcome{ReasonTimeout, "Request timed out"}
	}
	return outcome{ReasonFailed, "Health checks failed"}
}

// matcher is a list of ranges of status codes, both ends included.
type matcher [][2]int

// parseMatcher reads "200", "200,202" or "200-299,301".
func parseMatcher(s string) (matcher, error) {
	var m matcher
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || a < 100 || b > 999 || a > b {
			return nil, fmt.Errorf("health check matcher %q: %q is neither a status code nor a range of them", s, part)
		}
		m = append(m, [2]int{a, b})
	}
	return m, nil
}

func (m matcher) match(code int) bool {
	for _, r := range m {
		if r[0] <= code && code <= r[1] {
			return true
		}
	}
	return false
}
