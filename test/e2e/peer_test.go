// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// peer is what the test binary does inside a workload.
//
//	source PORT           listen; for each connection read a byte count (8
//	                      bytes, big endian) and a rate in bytes per second,
//	                      and send that many known bytes
//	fetch ADDR N RATE     ask a source for N bytes and print their sha256
//	dial ADDR TIMEOUT     print "open" or the error
//	answer ADDR...        listen for TCP and UDP; say to everybody what address
//	                      they come from, then send lines back
//	ask NET ADDR [FROM]   print what answer says, asked from an address
//	ping ADDR             send an echo request and print "reply" for one
//	bulk ADDR LINES       after that many lines, send many bytes and want them
//	                      back; print how many came
//	talk ADDR             print what answer says over TCP, then for each duration and word of
//	                      the input send the word and print it once it is back,
//	                      or "silence" if it is not within the duration
//	greet PORT            listen; greet at once, then read a header of the PROXY
//	                      protocol, say what is in it, and send back what follows
//	meet ADDR             print one's own address and the two lines that greet says
//	resolve NAME SERVER...
//	                      ask each server for the name's IPv6 address, and print it
//	records NAME TYPE SERVER
//	                      ask the server for the name's records and print the code
//	                      of its answer and what is in it, sorted, on one line
//	watch NAME [PORT]     print the time in nanoseconds since the epoch and the
//	                      name's IPv4 addresses ("-" for none), again whenever
//	                      they change; with a port, connect to each all the
//	                      time, and say "violation" if that fails and the name
//	                      still leads there afterwards
//	lookup NET NAME SERVER
//	                      ask a server over udp or tcp for the name's IPv4 addresses,
//	                      and print them
//	get URL NET [ADDR]    print status and body, got over tcp4 or tcp6 from the
//	                      URL's host, or from an address
//	calls URL N [HEADER]...
//	                      post that many requests, each over a connection of its
//	                      own, and print how many had which answer
//	tell URL              print one's own address and what the URL's host says
//	own KEY SECRET VPC    ask Postern's own API at AWS's names
//	registry URL TOKEN    push an image to a registry and pull it, and print what
//	                      it says to deleting it
//	keep-asking URL ADDR SERVER DOMAIN
//	                      make requests of a URL at an address, and ask a server for
//	                      names that a domain does not have, until the input ends,
//	                      and print what came of it
//	upload URL ADDR       send a body, the last byte of which waits for the input's
//	                      end, and print the answer's status
//	late URL ADDR TIME    connect within a time; make a request when the input ends
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
	case "answer":
		err = answer(args)
	case "ask":
		err = ask(args[0], args[1], args[2:]...)
	case "ping":
		err = ping(args[0])
	case "bulk":
		err = bulk(args[0], args[1])
	case "talk":
		err = talk(args[0])
	case "greet":
		err = greet(args[0])
	case "meet":
		err = meet(args[0])
	case "lookup":
		err = lookup(args[0], "ip4", args[1], args[2])
	case "resolve":
		err = resolve(args[0], args[1:])
	case "flood":
		err = flood(args[0], args[1])
	case "records":
		err = records(args[0], args[1], args[2])
	case "watch":
		watch(args[0], args[1:]...)
	case "get":
		err = get(args[0], args[1], args[2:]...)
	case "first":
		err = first(args[0])
	case "calls":
		n, parsed := strconv.Atoi(args[1])
		if err = parsed; err == nil {
			err = calls(args[0], n, args[2:]...)
		}
	case "tell":
		err = tell(args[0])
	case "own":
		err = own(args[0], args[1], args[2])
	case "keep-asking":
		err = keepAsking(args[0], args[1], args[2], args[3])
	case "upload":
		err = upload(args[0], args[1])
	case "late":
		err = late(args[0], args[1], args[2])
	case "registry":
		err = pushAndPull(args[0], args[1])
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

// serving answers every connection to a port of all addresses, side by side.
func serving(port string, answer func(net.Conn)) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			answer(c)
		}()
	}
}

func source(port string) error {
	return serving(port, func(c net.Conn) {
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		fmt.Println("from", netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
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
	})
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

func answer(addrs []string) error {
	failed := make(chan error)
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go func() {
					defer c.Close()
					fmt.Fprintln(c, host(c.RemoteAddr()))
					io.Copy(c, c)
				}()
			}
		}()
		go func() {
			b := make([]byte, 2048)
			for {
				_, from, err := p.ReadFrom(b)
				if err != nil {
					failed <- err
					return
				}
				p.WriteTo([]byte(host(from)+"\n"), from)
			}
		}()
	}
	fmt.Println("listening")
	return <-failed
}

// host is an address without its port; what comes by IPv4 is IPv4.
func host(a net.Addr) string {
	return netip.MustParseAddrPort(a.String()).Addr().Unmap().String()
}

// patience is how long to wait for an answer.
func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(patienceEnv)); err == nil {
		return d
	}
	return 3 * time.Second
}

func ask(network, addr string, from ...string) error {
	dialer := net.Dialer{Timeout: patience()}
	if len(from) > 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from[0])}
	}
	c, err := dialer.Dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience()))
	if network == "udp" {
		if _, err := c.Write([]byte("who?\n")); err != nil {
			return err
		}
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Print(line)
	return err
}

// bulkSize is how much bulk sends: enough that packets are put together.
const bulkSize = 4 << 20

func bulk(addr, lines string) error {
	skip, err := strconv.Atoi(lines)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", addr, patience())
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range skip {
		c.SetReadDeadline(time.Now().Add(patience()))
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
	}
	go func() {
		for sent := 0; sent < bulkSize; sent += len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return // the reader says so
			}
		}
	}()
	b := make([]byte, len(chunk))
	for n := 0; n < bulkSize; n += len(b) {
		c.SetReadDeadline(time.Now().Add(patience()))
		if k, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("after %d bytes: %w", n+k, err)
		}
		if !bytes.Equal(b, chunk) {
			return fmt.Errorf("within %d bytes some are others", n+len(b))
		}
	}
	fmt.Println(bulkSize)
	return nil
}

func ping(addr string) error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if strings.Contains(addr, ":") {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	m := []byte{request, 0, 0, 0, 0x50, 0x53, 0, 1}
	sum := ^(uint16(request)<<8 + 0x5053 + 1) // the kernel writes IPv6's
	m[2], m[3] = byte(sum>>8), byte(sum)
	if _, err := c.Write(m); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(patience()))
	for b := make([]byte, 256); ; {
		k, _, err := c.(*net.IPConn).ReadFrom(b) // without IPv4's header
		if err != nil {
			return err
		}
		if k >= 8 && b[0] == reply && b[4] == 0x50 && b[5] == 0x53 {
			fmt.Println("reply")
			return nil
		}
	}
}

func talk(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewScanner(c)
	if !r.Scan() {
		return r.Err()
	}
	fmt.Println(r.Text())
	heard := make(chan string)
	go func() {
		for r.Scan() {
			heard <- r.Text()
		}
		heard <- fmt.Sprint("end: ", r.Err())
	}()
	for {
		var within, word string
		if _, err := fmt.Scanln(&within, &word); err != nil {
			return err
		}
		d, err := time.ParseDuration(within)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c, word); err != nil {
			return err
		}
		timer := time.After(d)
		for said := ""; said == ""; {
			select {
			case line := <-heard: // it may be an earlier one
				if line == word || strings.HasPrefix(line, "end: ") {
					said = line
				}
			case <-timer:
				said = "silence"
			}
			if said != "" {
				fmt.Println(said)
			}
		}
	}
}

func greet(port string) error {
	return serving(port, func(c net.Conn) {
		fmt.Fprintln(c, "welcome")
		said, err := proxyHeader(c)
		if err != nil {
			said = err.Error()
		}
		fmt.Fprintln(c, said)
		io.Copy(c, c)
	})
}

// proxyHeader reads a header of the PROXY protocol, version 2, and says the
// client's address, the one it asked for, and the endpoint's id.
func proxyHeader(r io.Reader) (string, error) {
	var h [16]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return "", err
	}
	if string(h[:12]) != "\r\n\r\n\x00\r\nQUIT\n" || h[12] != 0x21 || h[13] != 0x11 && h[13] != 0x21 { // PROXY, TCP over IPv4 or IPv6
		return "", fmt.Errorf("a header that begins %x", h)
	}
	rest := make([]byte, binary.BigEndian.Uint16(h[14:]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return "", err
	}
	n := 4
	if h[13] == 0x21 {
		n = 16
	}
	if len(rest) < 2*n+4 {
		return "", fmt.Errorf("a header with %x after its length", rest)
	}
	at := func(addr, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(addr)
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	}
	said := fmt.Sprint(at(rest[:n], rest[2*n:]), " ", at(rest[n:2*n], rest[2*n+2:]))
	for tlv := rest[2*n+4:]; len(tlv) > 0; {
		if len(tlv) < 3 || len(tlv) < 3+int(binary.BigEndian.Uint16(tlv[1:])) {
			return "", fmt.Errorf("a header that ends with %x", tlv)
		}
		n := 3 + int(binary.BigEndian.Uint16(tlv[1:]))
		if tlv[0] == 0xea && n > 4 && tlv[3] == 1 {
			said += " " + string(tlv[4:n])
		}
		tlv = tlv[n:]
	}
	return said, nil
}

func meet(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience()))
	fmt.Println(c.LocalAddr())
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		fmt.Print(line)
		if err != nil || line != "welcome\n" {
			return err
		}
	}
}

func resolve(name string, servers []string) error {
	for _, server := range servers {
		if err := lookup("udp", "ip6", name, server); err != nil {
			return err
		}
	}
	return nil
}

// records asks for what a resolver of addresses does not.
func records(name, kind, server string) error {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.StringToType[kind])
	r, _, err := new(dns.Client).Exchange(q, net.JoinHostPort(server, "53"))
	if err != nil {
		return err
	}
	var said []string
	for _, rr := range r.Answer {
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		said = append(said, dns.TypeToString[rr.Header().Rrtype]+" "+data)
	}
	slices.Sort(said)
	fmt.Println(strings.Join(append([]string{dns.RcodeToString[r.Rcode]}, said...), " | "))
	return nil
}

// lookup asks a server over a network, and over TCP when the answer is too long
// for UDP.
func lookup(network, family, name, server string) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, asked, _ string) (net.Conn, error) {
		if network == "tcp" {
			asked = network
		}
		return new(net.Dialer).DialContext(ctx, asked, net.JoinHostPort(server, "53"))
	}}
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	addrs, err := r.LookupNetIP(ctx, family, name)
	if err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	for _, a := range addrs {
		fmt.Println(a)
	}
	return nil
}

// addressesOf is a name's IPv4 addresses now, sorted; none if it has none or nobody
// answers.
func addressesOf(name string) []netip.Addr {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r := &net.Resolver{PreferGo: true}
	addrs, err := r.LookupNetIP(ctx, "ip4", name+".")
	if err != nil {
		return nil
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// lostSYN is just under the time after which a lost SYN is sent again: a
// connection is there by then or its first packet did not pass.
const lostSYN = 900 * time.Millisecond

// lookEvery keeps two watchers of one instance below the resolver's limit of
// 1,024 packets per second and interface.
const lookEvery = 3 * time.Millisecond

func watch(name string, port ...string) {
	said := "nothing yet"
	for range time.Tick(lookEvery) {
		addrs := addressesOf(name)
		at := time.Now().UnixNano()
		passed := true
		for _, a := range addrs {
			for _, p := range port {
				c, err := net.DialTimeout("tcp4", net.JoinHostPort(a.String(), p), lostSYN)
				if err == nil {
					c.Close()
					continue
				}
				passed = false
				if slices.Contains(addressesOf(name), a) {
					fmt.Println("violation:", a, err)
				}
			}
		}
		list := strings.ReplaceAll(strings.Trim(fmt.Sprint(addrs), "[]"), " ", ",")
		if list == "" {
			list = "-"
		}
		if passed && list != said {
			said = list
			fmt.Println(at, list)
		}
	}
}

func get(url, network string, at ...string) error {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, append(at, addr)[0])
	}}}
	r, err := c.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	fmt.Println(r.Status)
	_, err = io.Copy(os.Stdout, io.LimitReader(r.Body, 4096))
	return err
}
