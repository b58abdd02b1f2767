// SPDX-License-Identifier: Apache-2.0

// Package apitest has what tests of the API share.
package apitest

import (
	"bytes"
	"io"
	"net/http"
)

// Client is an HTTP client for the AWS SDK for Go. The SDK closes the body of a
// request as soon as the answer's header is there; if net/http has not quite
// finished with that body, as happens with a server as near as ours, it gives
// the connection up and the answer's body ends in "use of closed network
// connection" (aws-sdk-go-v2, issue 2737). This client has read the whole
// answer before the SDK sees any of it.
func Client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	return &http.Client{
		Transport:     whole{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type whole struct{ next http.RoundTripper }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(b))
	return res, nil
}
