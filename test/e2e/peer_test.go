// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// peer is what the test binary does inside a workload.
//
//	source PORT           listen; for each connection read a byte count (8
//	                      bytes, big endian) and a rate in bytes per second,
//	                      and send that many known bytes
//	fetch ADDR N RATE     ask a source for N bytes and print their sha256
//	dial ADDR TIMEOUT     print "open" or the error
//	first ADDR            connect again and again until a byte comes; print
//	                      the time in nanoseconds since the epoch
func peer(mode string, args []string) int {
	var err error
	switch mode {
	case "source":
		err = source(args[0])
	case "fetch":
		err = fetch(args[0], args[1], args[2])
	case "dial":
		err = dial(args[0], args[1])
	case "first":
		err = first(args[0])
	default:
		err = fmt.Errorf("unknown peer %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, mode+":", err)
		return 1
	}
	return 0
}

// chunk is what a source sends again and again.
var chunk = func() []byte {
	b := make([]byte, 64<<10)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}()

func source(port string) error {
	l, err := net.Listen("tcp4", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Println("from", c.RemoteAddr())
		go func() {
			defer c.Close()
			var ask [16]byte
			if _, err := io.ReadFull(c, ask[:]); err != nil {
				return
			}
			n, rate := binary.BigEndian.Uint64(ask[:]), binary.BigEndian.Uint64(ask[8:])
			start, sent := time.Now(), uint64(0)
			for sent < n {
				b := chunk[:min(uint64(len(chunk)), n-sent)]
				if _, err := c.Write(b); err != nil {
					return
				}
				sent += uint64(len(b))
				if rate > 0 {
					time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / float64(rate) * 1e9))))
				}
			}
		}()
	}
}

func fetch(addr, n, rate string) error {
	c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	count, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return err
	}
	r, err := strconv.ParseUint(rate, 10, 64)
	if err != nil {
		return err
	}
	var ask [16]byte
	binary.BigEndian.PutUint64(ask[:], count)
	binary.BigEndian.PutUint64(ask[8:], r)
	if _, err := c.Write(ask[:]); err != nil {
		return err
	}
	h := sha256.New()
	started := false
	buf := make([]byte, 64<<10)
	var total uint64
	for {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		k, err := c.Read(buf)
		if k > 0 && !started {
			started = true
			fmt.Println("started")
		}
		h.Write(buf[:k])
		total += uint64(k)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", total, err)
		}
	}
	fmt.Println(total, hex.EncodeToString(h.Sum(nil)))
	return nil
}

// sumOf is the sha256 that fetch prints for n bytes.
func sumOf(n uint64) string {
	h := sha256.New()
	for sent := uint64(0); sent < n; {
		b := chunk[:min(uint64(len(chunk)), n-sent)]
		h.Write(b)
		sent += uint64(len(b))
	}
	return fmt.Sprint(n, " ", hex.EncodeToString(h.Sum(nil)))
}

func dial(addr, timeout string) error {
	d, err := time.ParseDuration(timeout)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp4", addr, d)
	if err != nil {
		return err
	}
	c.Close()
	fmt.Println("open")
	return nil
}

func first(addr string) error {
	var ask [16]byte
	ask[7] = 1
	end := time.Now().Add(30 * time.Second)
	for time.Now().Before(end) {
		// A lost SYN is sent again only after a second: give up early.
		c, err := net.DialTimeout("tcp4", addr, 3*time.Millisecond)
		if err != nil {
			continue
		}
		c.Write(ask[:])
		var b [1]byte
		c.SetReadDeadline(time.Now().Add(time.Second))
		_, err = io.ReadFull(c, b[:])
		c.Close()
		if err == nil {
			fmt.Println(time.Now().UnixNano())
			return nil
		}
	}
	return fmt.Errorf("no byte from %s", addr)
}
