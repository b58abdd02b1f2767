// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern.dev/postern/test/bench/stats"
)

// The traffic generator uses plain blocking sockets: an event loop's own
// wakeups would be part of every number, and for all paths the same, which
// makes different paths look alike.

// The first byte of a connection says what it is for.
const (
	askStream  = 'T' // the client sends until it shuts down; the server answers with 8 bytes, how much came
	askEcho    = 'R' // the server sends every echoSize bytes back
	askConnect = 'C' // the server sends one byte and closes
)

const (
	echoSize    = 64
	streamBlock = 128 << 10
	idle        = 5 * time.Second // after which either side gives a connection up
	maxFailures = 20              // after which a sample is worthless
)

// measured is what one client process found out and prints as JSON.
type measured struct {
	Count   int64  `json:"count"`             // requests, connections or packets
	Bytes   int64  `json:"bytes,omitempty"`   // that reached the server
	Elapsed int64  `json:"elapsed_ns"`        // of the whole sample without the warm-up
	P50     int64  `json:"p50_ns,omitempty"`  // of one request
	P99     int64  `json:"p99_ns,omitempty"`  // of one request
	WarmUp  int64  `json:"warm_up,omitempty"` // packets before it
	Failed  int64  `json:"failed,omitempty"`  // connections or packets that came to nothing
	Failure string `json:"failure,omitempty"` // the last of them
	// Flood is what somebody else sent meanwhile.
	Flood *flooded `json:"flood,omitempty"`
}

// traffic is the hidden command of the generator processes.
func traffic(args []string) error {
	if len(args) == 0 {
		return errors.New("traffic: say serve, ask, first, resolve or flood")
	}
	fs := flag.NewFlagSet("traffic", flag.ContinueOnError)
	port := fs.Int("port", serverPort, "to listen on")
	proxied := fs.Bool("proxied", false, "take only connections that begin with a PROXY protocol header")
	to := fs.String("to", "", "address and port to connect to")
	name := fs.String("name", "", "to resolve")
	what := fs.String("what", "", "stream, echo, connect or packets; of a flood syn or udp")
	from := fs.String("from", "", "address that a flood comes from")
	var w wish
	fs.DurationVar(&w.lasts, "for", time.Second, "length of the sample")
	fs.Int64Var(&w.limit, "limit", 0, "connections, of a flood packets, after which it ends early")
	wait := fs.Bool("wait", false, "begin the sample at a line on standard input, and count failures to its end")
	fs.IntVar(&w.streams, "streams", 1, "connections at the same time")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if args[0] == "serve" {
		if err := swallow(*port); err != nil {
			return err
		}
		return serve(*port, *proxied)
	}
	addr, err := netip.ParseAddrPort(*to)
	if err != nil {
		return fmt.Errorf("traffic: -to: %w", err)
	}
	switch args[0] {
	case "flood":
		src, err := netip.ParseAddr(*from)
		if err != nil {
			return fmt.Errorf("traffic: -from: %w", err)
		}
		return flood(*what, src, addr, bounds{w.lasts, w.limit}, os.Stdin, os.Stdout)
	case "ask":
		if *wait {
			w.begin = func() error { return awaitLine(os.Stdin, os.Stdout) }
		}
		m, err := ask(*what, addr, w)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(m)
	case "first":
		return firstByte(addr, w.lasts, os.Stdout)
	case "resolve":
		return firstAnswer(addr, *name, w.lasts, os.Stdout)
	}
	return fmt.Errorf("traffic: unknown role %q", args[0])
}

// wish is how a sample is to be taken.
type wish struct {
	lasts   time.Duration
	limit   int64 // of connections; 0 is none
	streams int
	// begin, if set, is called when all is ready for the sample. Such a one bears
	// failures: what fails is counted, and it goes on to its end.
	begin func() error
}

// started begins the sample.
func (w wish) started() (time.Time, error) {
	if w.begin != nil {
		if err := w.begin(); err != nil {
			return time.Time{}, err
		}
	}
	return time.Now(), nil
}

// awaitLine says that the sample may begin and waits for the word that it does.
func awaitLine(in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	_, err := io.ReadFull(in, make([]byte, 1))
	return err
}

// serve answers until its end. Connections that ask for one byte are handled
// in the accepting thread, so the rate of them holds no thread switch of ours;
// a health check, which says nothing and closes, ends there as well.
func serve(port int, proxied bool) error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(l)
	// Accepted sockets inherit the receive timeout.
	if err := errors.Join(
		unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		setTimeout(l, unix.SO_RCVTIMEO, idle),
		unix.Bind(l, &unix.SockaddrInet4{Port: port}),
		unix.Listen(l, 4096),
	); err != nil {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	fmt.Println("listening")
	one := make([]byte, 1)
	for {
		c, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
		switch {
		case again(err) || errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		if proxied && readHeader(c) != nil || read(c, one) != nil {
			unix.Close(c)
			continue
		}
		switch one[0] {
		case askConnect:
			write(c, one)
			unix.Close(c)
		case askEcho:
			go echo(c)
		case askStream:
			go sink(c)
		default:
			unix.Close(c)
		}
	}
}

func echo(c int) {
	defer unix.Close(c)
	unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	buf := make([]byte, echoSize)
	for read(c, buf) == nil && write(c, buf) == nil {
	}
}

func sink(c int) {
	defer unix.Close(c)
	buf := make([]byte, 2*streamBlock)
	var total uint64
	for {
		n, err := unix.Read(c, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		if n == 0 {
			break
		}
		total += uint64(n)
	}
	write(c, binary.BigEndian.AppendUint64(nil, total))
}

// ask takes one sample after a short warm-up.
func ask(what string, to netip.AddrPort, w wish) (measured, error) {
	f, ok := map[string]func(netip.AddrPort, wish) (measured, error){
		"stream": askForStreams, "echo": askForEchoes, "connect": askForConnections, "packets": sendPackets,
	}[what]
	if !ok {
		return measured{}, fmt.Errorf("nobody can ask for %q", what)
	}
	warmUp := w
	warmUp.lasts, warmUp.limit, warmUp.begin = min(w.lasts/10, 100*time.Millisecond), w.limit/10, nil
	before, err := f(to, warmUp)
	if err != nil {
		return measured{}, fmt.Errorf("%s to %v, warm-up: %w", what, to, err)
	}
	m, err := f(to, w)
	if err != nil {
		err = fmt.Errorf("%s to %v: %w", what, to, err)
	}
	if what == "packets" {
		m.WarmUp = before.Count
	}
	return m, err
}

// askForStreams sends on some connections at the same time, each from a thread
// of its own.
func askForStreams(to netip.AddrPort, w wish) (m measured, err error) {
	conns := make([]int, w.streams)
	for i := range conns {
		c, err := dial(to, time.Second)
		if err != nil {
			return m, err
		}
		defer unix.Close(c)
		if err := write(c, []byte{askStream}); err != nil {
			return m, err
		}
		conns[i] = c
	}
	type part struct {
		bytes uint64
		err   error
	}
	parts := make(chan part)
	block := make([]byte, streamBlock)
	start := time.Now()
	for _, c := range conns {
		go func() {
			n, err := pour(c, block, start.Add(w.lasts))
			parts <- part{n, err}
		}()
	}
	for range conns {
		p := <-parts
		m.Bytes += int64(p.bytes)
		err = errors.Join(err, p.err)
	}
	m.Elapsed = int64(time.Since(start))
	return m, err
}

// pour sends until a moment and answers how much came.
func pour(c int, block []byte, until time.Time) (uint64, error) {
	for time.Now().Before(until) {
		if err := write(c, block); err != nil {
			return 0, err
		}
	}
	if err := unix.Shutdown(c, unix.SHUT_WR); err != nil {
		return 0, fmt.Errorf("shut down: %w", err)
	}
	var total [8]byte
	if err := read(c, total[:]); err != nil {
		return 0, fmt.Errorf("wait for the server's count: %w", err)
	}
	return binary.BigEndian.Uint64(total[:]), nil
}

func askForEchoes(to netip.AddrPort, w wish) (m measured, err error) {
	c, err := dial(to, time.Second)
	if err != nil {
		return m, err
	}
	defer unix.Close(c)
	if err := unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return m, err
	}
	if err := write(c, []byte{askEcho}); err != nil {
		return m, err
	}
	took := make([]int64, 0, int(w.lasts.Seconds()*500e3)+1000) // no path has 500,000 requests/s on one connection
	buf := make([]byte, echoSize)
	start, err := w.started()
	if err != nil {
		return m, err
	}
	for last := start; last.Sub(start) < w.lasts && len(took) < cap(took); {
		err := write(c, buf)
		if err == nil {
			err = read(c, buf)
		}
		if err != nil && w.begin == nil {
			return m, err
		}
		if err != nil {
			m.Failed, m.Failure = 1, err.Error()
			break
		}
		now := time.Now()
		took = append(took, int64(now.Sub(last)))
		last = now
	}
	m.Elapsed = int64(time.Since(start))
	m.Count = int64(len(took))
	slices.Sort(took)
	m.P50, m.P99 = stats.Quantile(took, 0.50), stats.Quantile(took, 0.99)
	return m, nil
}

// askForConnections opens, uses and resets one connection after the other. A
// reset leaves neither side in TIME_WAIT, so the thousandth connection finds
// what the first one found.
func askForConnections(to netip.AddrPort, w wish) (m measured, err error) {
	start, err := w.started()
	if err != nil {
		return m, err
	}
	for time.Since(start) < w.lasts && (w.limit == 0 || m.Count < w.limit) {
		if err := oneConnection(to); err != nil {
			m.Failed++
			m.Failure = err.Error()
			if m.Failed >= maxFailures && w.begin == nil {
				return m, fmt.Errorf("%d connections failed after %d good ones, the last: %w", m.Failed, m.Count, err)
			}
			continue
		}
		m.Count++
	}
	m.Elapsed = int64(time.Since(start))
	return m, nil
}

// oneConnection connects, exchanges a byte and resets.
func oneConnection(to netip.AddrPort) error {
	c, err := dial(to, time.Second)
	if err != nil {
		return err
	}
	return useOnce(c)
}

// useOnce ends c, which is connected.
func useOnce(c int) error {
	defer unix.Close(c)
	b := []byte{askConnect}
	if err := write(c, b); err != nil {
		return err
	}
	if err := read(c, b); err != nil {
		return err
	}
	return unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// firstByte waits until to is closed, which three failures in a row prove,
// prints "closed", and then connects again and again until a byte comes; it
// prints the time of that in nanoseconds since the epoch. A lost SYN is sent
// again only after a second, so every try is given up after 3 ms.
func firstByte(to netip.AddrPort, lasts time.Duration, out io.Writer) error {
	const try = 3 * time.Millisecond
	end := time.Now().Add(lasts)
	closed := 0
	for time.Now().Before(end) {
		c, err := dialPrecisely(to, try)
		if err == nil {
			err = useOnce(c)
		}
		switch {
		case err == nil && closed >= 3:
			_, err := fmt.Fprintln(out, time.Now().UnixNano())
			return err
		case err == nil:
			closed = 0
		default:
			if closed++; closed == 3 {
				if _, err := fmt.Fprintln(out, "closed"); err != nil {
					return err
				}
			}
		}
	}
	if closed < 3 {
		return fmt.Errorf("%v did not close within %v", to, lasts)
	}
	return fmt.Errorf("no byte from %v within %v", to, lasts)
}

// dialPrecisely connects within timeout, to the microsecond and at the price
// of more system calls than dial, whose timeout the kernel rounds up to its tick.
func dialPrecisely(to netip.AddrPort, timeout time.Duration) (int, error) {
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	err = unix.Connect(c, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if errors.Is(err, unix.EINPROGRESS) {
		err = finishConnect(c, timeout)
	}
	if err == nil {
		err = errors.Join(unix.SetNonblock(c, false), setTimeout(c, unix.SO_RCVTIMEO, time.Second))
	}
	if err != nil {
		unix.Close(c)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// finishConnect waits for a connect that goes on in the kernel.
func finishConnect(c int, timeout time.Duration) error {
	end := time.Now().Add(timeout)
	for {
		ts := unix.NsecToTimespec(int64(max(0, time.Until(end))))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(c), Events: unix.POLLOUT}}, &ts, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return unix.ETIMEDOUT
		}
		code, err := unix.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		return err
	}
}

// dial connects within timeout, which then bounds every receive as well.
func dial(to netip.AddrPort, timeout time.Duration) (int, error) {
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	// The send timeout bounds connect.
	err = errors.Join(setTimeout(c, unix.SO_SNDTIMEO, timeout), setTimeout(c, unix.SO_RCVTIMEO, timeout))
	if err == nil {
		err = unix.Connect(c, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if errors.Is(err, unix.EINTR) {
		err = finishConnect(c, timeout)
	}
	if err != nil {
		unix.Close(c)
		if errors.Is(err, unix.EINPROGRESS) {
			err = fmt.Errorf("no answer within %v", timeout)
		}
		return -1, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func setTimeout(fd, option int, d time.Duration) error {
	tv := unix.NsecToTimeval(int64(d))
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &tv)
}

func again(err error) bool { return errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) }

// read fills b.
func read(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return nil
}

// write sends all of b.
func write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	return nil
}
