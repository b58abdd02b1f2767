// SPDX-License-Identifier: Apache-2.0

package hostsync

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/pki"
	"postern.dev/postern/internal/vpc"
)

// Client is the agent's end.
type Client struct {
	host vpc.HostID
	base string
	http *http.Client
	log  *slog.Logger
	// patience is how long nothing may come: see Server.Beat.
	patience time.Duration
}

// NewUnixClient talks to a server on this machine.
func NewUnixClient(socket string, host vpc.HostID, log *slog.Logger) *Client {
	var d net.Dialer
	return &Client{host: host, base: "http://server", log: log, patience: Patience, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
}

// NewClient talks as a host to a server on another machine, at a URL such as
// https://192.0.2.1:8421.
func NewClient(server string, id *Identity, log *slog.Logger) (*Client, error) {
	cfg, err := pki.HostTLS([]byte(id.CA), id.certificate)
	if err != nil {
		return nil, err
	}
	return &Client{host: id.Host, base: strings.TrimSuffix(server, "/"), log: log, patience: Patience, http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: cfg, TLSHandshakeTimeout: Patience, IdleConnTimeout: time.Minute},
		// A server is where it is: nothing is sent anywhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Follow calls desiredChanged with each new desired state and settingsChanged
// with each new settings, until ctx ends. It connects again by itself; held
// is what the agent kept from before, or desired.Empty().
func (c *Client) Follow(ctx context.Context, held desired.Host, desiredChanged func(desired.Host), settingsChanged func(Settings)) {
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		start := time.Now()
		err := c.follow(ctx, &held, desiredChanged, settingsChanged)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > 5*time.Second {
			pause = 50 * time.Millisecond
		}
		c.log.Warn("stream to the server ended, connecting again", "error", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, 2*time.Second)
	}
}

func (c *Client) follow(ctx context.Context, held *desired.Host, desiredChanged func(desired.Host), settingsChanged func(Settings)) error {
	url := fmt.Sprintf("%s/v1/hosts/%s/desired?base=%d", c.base, c.host, held.Revision)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silence := time.AfterFunc(c.patience, func() { end(errSilent) })
	defer silence.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		return fmt.Errorf("the server answered %s: %s", res.Status, bytes.TrimSpace(b))
	}
	dec := json.NewDecoder(&heard{res.Body, func() { silence.Reset(c.patience) }})
	for {
		var m Message
		if err := dec.Decode(&m); err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		switch {
		case m.Settings != nil:
			settingsChanged(*m.Settings)
		case m.Whole != nil:
			*held = m.Whole.Fit()
			desiredChanged(*held)
		case m.Change != nil:
			next, err := desired.Apply(*held, *m.Change)
			if err != nil {
				// Ask for the whole.
				held.Revision = 0
				return err
			}
			*held = next
			desiredChanged(next)
		}
	}
}

// heard tells of everything that is read.
type heard struct {
	io.Reader
	tell func()
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.tell()
	}
	return n, err
}

// errSilent ends a stream on which nothing comes any more.
var errSilent = errors.New("the server sends nothing any more")

// Send delivers a report once; the caller sends a newer one if it fails.
func (c *Client) Send(ctx context.Context, r Report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/v1/hosts/%s/status", c.base, c.host), bytes.NewReader(b))
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		msg, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		return fmt.Errorf("the server answered %s: %s", res.Status, bytes.TrimSpace(msg))
	}
	return nil
}
