// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/test/bench/stats"
)

// wish is what a client process is to do.
type wish struct {
	To        string        `json:"to"`
	Operation string        `json:"operation"`
	Lasts     time.Duration `json:"lasts"` // 0 is one request for each connection
	Conns     int           `json:"conns"`
	Large     int64         `json:"large"` // size of a large body
}

// measured is what it found out.
type measured struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"` // of bodies
	Elapsed  int64 `json:"elapsed_ns"`
	P50      int64 `json:"p50_ns"`
	P99      int64 `json:"p99_ns"`
}

// part is one connection's.
type part struct {
	requests, bytes int64
	took            []int64
	err             error
}

// ask is the child that takes one sample, after a warm-up.
func ask(w wish) (measured, error) {
	o, err := operationOf(w.Operation)
	if err != nil {
		return measured{}, err
	}
	clients := make([]*client, w.Conns)
	for i := range clients {
		c := &client{fd: -1, buf: make([]byte, block), operation: o, size: w.Large}
		if c.head, c.body, err = o.head(i, w.Large); err != nil {
			return measured{}, err
		}
		if c.fd, err = dial(w.To); err != nil {
			return measured{}, err
		}
		defer unix.Close(c.fd)
		clients[i] = c
	}
	if w.Lasts > 0 {
		if _, err := all(clients, w.Lasts/10); err != nil {
			return measured{}, fmt.Errorf("warm-up: %w", err)
		}
	}
	return all(clients, w.Lasts)
}

// all lets the clients ask at the same time, each in a thread of its own.
func all(clients []*client, lasts time.Duration) (m measured, err error) {
	parts := make(chan part)
	start := time.Now()
	for _, c := range clients {
		go func() {
			runtime.LockOSThread()
			parts <- c.ask(start.Add(lasts))
		}()
	}
	var took []int64
	for range clients {
		p := <-parts
		m.Requests += p.requests
		m.Bytes += p.bytes
		took = append(took, p.took...)
		err = errors.Join(err, p.err)
	}
	m.Elapsed = int64(time.Since(start))
	slices.Sort(took)
	m.P50, m.P99 = stats.Quantile(took, 0.50), stats.Quantile(took, 0.99)
	return m, err
}

// client is one connection.
type client struct {
	fd         int
	head, body []byte
	buf        []byte
	operation  operation
	size       int64 // of a large body
}

// ask asks one thing after the other until a moment, at least once.
func (c *client) ask(until time.Time) (p part) {
	p.took = make([]int64, 0, 1<<16)
	request := slices.Concat(c.head, c.body)
	last := time.Now()
	for {
		n, err := c.one(request)
		if err != nil {
			p.err = fmt.Errorf("%s: %w", c.operation.name, err)
			return p
		}
		now := time.Now()
		p.took = append(p.took, int64(now.Sub(last)))
		p.requests++
		p.bytes += n
		if last = now; !now.Before(until) {
			return p
		}
	}
}

// one is a request and its answer; it returns how long the body was.
func (c *client) one(request []byte) (int64, error) {
	if err := write(c.fd, request); err != nil {
		return 0, err
	}
	sent := int64(len(c.body))
	if c.operation.large && c.operation.up {
		clear(c.buf)
		if err := pour(c.fd, c.buf, c.size); err != nil {
			return 0, err
		}
		sent = c.size
	}
	m, err := readMessage(c.fd, c.buf)
	if err != nil {
		return 0, err
	}
	if err := drain(c.fd, c.buf, m.length-m.with); err != nil {
		return 0, err
	}
	if !strings.HasPrefix(m.first, "HTTP/1.1 200") {
		return 0, fmt.Errorf("%s: %.400q", m.first, c.buf[:min(len(c.buf), 1200)])
	}
	want := int64(smallSize)
	switch {
	case c.operation.up:
		return sent, nil
	case c.operation.large:
		want = c.size
	}
	if m.length != want {
		return 0, fmt.Errorf("a body of %d bytes, want %d", m.length, want)
	}
	return m.length, nil
}

// Trickling bodies: how much moves of each at a time, how often, and how much
// must have moved before all are called under way.
const (
	drop     = 16 << 10
	dropTime = 100 * time.Millisecond
	underWay = 4 * drop
)

// trickle is the child that holds so many large bodies open, every second one
// down and the others up. It prints a line when all are under way and goes on
// until its standard input ends.
func trickle(w wish, in io.Reader, out io.Writer) error {
	conns := make([]int, w.Conns)
	moved := make([]int64, w.Conns)
	up := func(i int) bool { return i%2 == 0 }
	for i := range conns {
		name := "download"
		if up(i) {
			name = "upload"
		}
		o, err := operationOf(name)
		if err != nil {
			return err
		}
		head, _, err := o.head(i, w.Large)
		if err != nil {
			return err
		}
		if conns[i], err = dial(w.To); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		if err := write(conns[i], head); err != nil {
			return err
		}
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, in)
		close(ended)
	}()
	buf := make([]byte, drop)
	tick := time.NewTicker(dropTime)
	defer tick.Stop()
	deadline := time.Now().Add(stuck)
	for said := false; ; {
		for i, c := range conns {
			var n int
			var err error
			if up(i) {
				n, err = unix.SendmsgN(c, buf, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			} else {
				n, _, err = unix.Recvfrom(c, buf, unix.MSG_DONTWAIT)
				if n == 0 && err == nil {
					err = io.EOF
				}
			}
			if err != nil && err != unix.EAGAIN && err != unix.EINTR {
				return fmt.Errorf("connection %d of %d, after %d bytes: %w", i, len(conns), moved[i], err)
			}
			moved[i] += int64(max(n, 0))
		}
		if !said && slices.Min(moved) >= underWay {
			said = true
			fmt.Fprintln(out, "under way")
		}
		if !said && time.Now().After(deadline) {
			return fmt.Errorf("not all of %d bodies move", len(conns))
		}
		if slices.Max(moved) > w.Large-2*drop {
			return errors.New("the large bodies are over too soon")
		}
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
	}
}
