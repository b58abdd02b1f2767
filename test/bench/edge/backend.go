// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// backend is the child that answers as S3 would and does nothing for it: every
// object below "large" has that size, all others have smallSize, and what is put
// is read and forgotten.
func backend(address string, large int64) error {
	addr, family, err := sockaddr(address)
	if err != nil {
		return err
	}
	l, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(l, addr); err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	if err := unix.Listen(l, 4096); err != nil {
		return err
	}
	head := func(size int64) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: %s\r\nServer: bench\r\nx-amz-request-id: 4442587FB7D0A2F9\r\n"+
			"x-amz-id-2: vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=\r\n"+
			"ETag: \"6805f2cfc46c0f04559748bb039d69ae\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n"+
			"Content-Type: binary/octet-stream\r\nContent-Length: %d\r\n\r\n", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), size)
	}
	b := answers{
		stored: head(0), small: append(head(smallSize), bytes.Repeat([]byte("x"), smallSize)...),
		largeHead: head(large), large: large, zeroes: make([]byte, block),
	}
	for {
		c, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EINTR || err == unix.ECONNABORTED:
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		default:
			if err := setLinger(c, family); err != nil {
				return err
			}
			go b.serve(c)
		}
	}
}

// setLinger sends at once. A kept connection may be idle for as long as it likes.
func setLinger(c, family int) error {
	if family != unix.AF_INET {
		return nil
	}
	return unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// answers are ready to be sent.
type answers struct {
	stored, small, largeHead []byte
	large                    int64
	zeroes                   []byte
}

// serve answers until the connection ends.
func (b *answers) serve(c int) {
	defer unix.Close(c)
	buf := make([]byte, 16<<10)
	var body []byte // made for the first large one
	for {
		m, err := readMessage(c, buf)
		if err != nil {
			return
		}
		if rest := m.length - m.with; rest > 0 {
			if rest > smallSize && body == nil {
				body = make([]byte, block)
			}
			into := body
			if into == nil {
				into = buf
			}
			if drain(c, into, rest) != nil {
				return
			}
		}
		switch {
		case !strings.HasPrefix(m.first, "GET "):
			err = write(c, b.stored)
		case !strings.HasPrefix(m.first, "GET /"+bucket+"/"+largeKey+" "):
			err = write(c, b.small)
		default:
			if err = write(c, b.largeHead); err == nil {
				err = pour(c, b.zeroes, b.large)
			}
		}
		if err != nil {
			return
		}
	}
}
