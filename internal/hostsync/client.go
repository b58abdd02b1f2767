// SPDX-License-Identifier: Apache-2.0

package hostsync

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/vpc"
)

// Client is the agent's end.
type Client struct {
	host vpc.HostID
	base string
	http *http.Client
	log  *slog.Logger
}

// NewUnixClient talks to a server on this machine.
func NewUnixClient(socket string, host vpc.HostID, log *slog.Logger) *Client {
	var d net.Dialer
	return &Client{host: host, base: "http://server", log: log, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		return fmt.Errorf("the server answered %s: %s", res.Status, bytes.TrimSpace(b))
	}
	dec := json.NewDecoder(res.Body)
	for {
		var m Message
		if err := dec.Decode(&m); err != nil {
			return err
		}
		switch {
		case m.Settings != nil:
			settingsChanged(*m.Settings)
		case m.Whole != nil:
			*held = *m.Whole
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

// Send delivers a report once; the caller sends a newer one if it fails.
func (c *Client) Send(ctx context.Context, r Report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
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
