// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A connection with the PROXY protocol, version 2, begins with 12 fixed bytes,
// one of version and command, one of the family, two of the length of the rest
// and the rest: addresses and more.
var headerBegin = []byte("\r\n\r\n\x00\r\nQUIT\n")

// readHeader reads such a header of a connection and fails on any other begin.
func readHeader(c int) error {
	head := make([]byte, len(headerBegin)+4)
	if err := read(c, head); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, headerBegin) || head[len(headerBegin)] != 0x21 {
		return errors.New("no PROXY protocol header of version 2")
	}
	return read(c, make([]byte, binary.BigEndian.Uint16(head[len(head)-2:])))
}
