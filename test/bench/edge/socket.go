// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Client and backend use plain blocking sockets: an event loop's own wakeups
// would be part of every number.

const (
	block = 128 << 10 // of a large body
	stuck = 20 * time.Second
)

// address is "127.0.0.1:80" or "unix:/path".
func sockaddr(address string) (unix.Sockaddr, int, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return &unix.SockaddrUnix{Name: path}, unix.AF_UNIX, nil
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, 0, err
	}
	return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.AF_INET, nil
}

func dial(address string) (int, error) {
	to, family, err := sockaddr(address)
	if err != nil {
		return -1, err
	}
	c, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if err = setOptions(c, family); err == nil {
		for err = unix.Connect(c, to); errors.Is(err, unix.EINTR); {
			err = unix.Connect(c, to)
		}
	}
	if err != nil && !errors.Is(err, unix.EISCONN) {
		unix.Close(c)
		return -1, fmt.Errorf("connect to %s: %w", address, err)
	}
	return c, nil
}

// setOptions bounds how long a socket waits, and sends at once.
func setOptions(c, family int) error {
	tv := unix.NsecToTimeval(int64(stuck))
	err := errors.Join(unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv), unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv))
	if family == unix.AF_INET {
		err = errors.Join(err, unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	return err
}

// readSome reads what there is, at least a byte.
func readSome(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("read: %w", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// write sends all of b.
func write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("write: %w", err)
		default:
			b = b[n:]
		}
	}
	return nil
}

// pour sends n bytes of zeroes.
func pour(fd int, zeroes []byte, n int64) error {
	for n > 0 {
		b := zeroes[:min(int64(len(zeroes)), n)]
		if err := write(fd, b); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// message is the head of a request or an answer, and how much of the body came
// with it.
type message struct {
	first  string // line
	length int64  // of the body
	with   int64  // bytes of the body that came with the head
}

// readMessage reads a head. buf must have room for it and may get some of the
// body; more than the body is an error, because nobody here pipelines.
func readMessage(fd int, buf []byte) (m message, err error) {
	n := 0
	for {
		got, err := readSome(fd, buf[n:])
		if err != nil {
			if n > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return m, err
		}
		from := max(0, n-len(requestEnd))
		n += got
		if i := bytes.Index(buf[from:n], []byte(requestEnd)); i >= 0 {
			end := from + i + len(requestEnd)
			if m, err = parseHead(buf[:end]); err != nil {
				return m, err
			}
			if m.with = int64(n - end); m.with > m.length {
				return m, fmt.Errorf("%d bytes after a body of %d: %.200q", m.with, m.length, buf[:n])
			}
			return m, nil
		}
		if n == len(buf) {
			return m, errors.New("a head that is too long")
		}
	}
}

// parseHead reads a first line and the length of the body.
func parseHead(head []byte) (m message, err error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	m.first = string(line)
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch len(name) {
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if m.length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil || m.length < 0 {
					return m, fmt.Errorf("a length of %q", value)
				}
			}
		case len("Transfer-Encoding"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				return m, fmt.Errorf("a body in chunks: %.200q", head)
			}
		}
	}
	return m, nil
}

// drain reads n bytes.
func drain(fd int, buf []byte, n int64) error {
	for n > 0 {
		got, err := readSome(fd, buf[:min(int64(len(buf)), n)])
		if err != nil {
			return fmt.Errorf("%d bytes are missing: %w", n, err)
		}
		n -= int64(got)
	}
	return nil
}
