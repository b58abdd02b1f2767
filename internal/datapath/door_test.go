// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"postern.dev/postern/internal/desired"
)

// Nobody is refused at the edge's ports, whether a door is left, or closed and kept by
// somebody, or there is none; elsewhere it is as ever.
func TestADoorIsLeftWithoutRefusingAnybody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a namespace and eBPF")
	}
	// A namespace that goes with the thread. It is not given back.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	prog, err := ebpf.NewProgram(silence())
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer prog.Close()
	attached, err := link.AttachTCX(link.TCXOptions{Interface: 1, Program: prog, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()

	const connected, silent, refused = "connected", "no answer", "refused"
	addr := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	want := func(what string, port int, want string) {
		t.Helper()
		// Less than a client waits before it tries again.
		c, err := net.DialTimeout("tcp4", addr(port), 500*time.Millisecond)
		got := connected
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			got = silent
		case errors.Is(err, unix.ECONNREFUSED):
			got = refused
		case err != nil:
			t.Fatal(err)
		default:
			t.Cleanup(func() { c.Close() })
		}
		if got != want {
			t.Errorf("port %d, %s: %s, want %s", port, what, got, want)
		}
	}
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	for _, port := range []int{desired.EdgeHTTPPort, desired.EdgeHTTPSPort, desired.EdgeDNSPort} {
		want("with nobody", port, silent)
	}
	want("with nobody", 8080, refused)
	// Questions, of which the resolver hears those that it listens for.
	asks := func(what string, port int, want string) {
		t.Helper()
		c, err := net.Dial("udp4", addr(port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		got := silent
		switch _, err := c.Read(make([]byte, 12)); {
		case errors.Is(err, unix.ECONNREFUSED):
			got = refused
		case !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("a question to port %d, %s: %s, want %s", port, what, got, want)
		}
	}
	asks("with nobody", 5353, refused)
	asks("with nobody", desired.EdgeDNSPort, silent)
	p, err := net.ListenPacket("udp4", addr(desired.EdgeDNSPort))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	asks("with somebody", desired.EdgeDNSPort, silent)
	p.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := p.ReadFrom(make([]byte, 12)); err != nil {
		t.Errorf("a question that somebody waits for: %v", err)
	}
	l, err := plain.Listen(t.Context(), "tcp4", addr(desired.EdgeHTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File() // what another process keeps
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d, err := OpenDoor(l)
	if err != nil {
		t.Fatal(err)
	}
	want("open", desired.EdgeHTTPPort, connected)

	// Somebody waits in it, and nobody accepts.
	brief, cancel := context.WithTimeout(t.Context(), 4*handshake)
	defer cancel()
	if err := d.Leave(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("left while somebody waits: %v", err)
	}
	left := make(chan error, 1)
	go func() { left <- d.Leave(t.Context()) }()
	first, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := <-left; err != nil {
		t.Error(err)
	}
	want("left", desired.EdgeHTTPPort, silent)
	d.Close()
	want("closed and kept", desired.EdgeHTTPPort, silent)

	next, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenDoor(next)
	if err != nil {
		t.Fatal(err)
	}
	want("opened again", desired.EdgeHTTPPort, connected)
	again.Close()
	file.Close()
	want("closed by everybody", desired.EdgeHTTPPort, silent)
}

func TestADoorIsASocket(t *testing.T) {
	if _, err := OpenDoor(noSocket{}); err == nil {
		t.Error("a listener without a socket is a door")
	}
}

type noSocket struct{ net.Listener }

func (noSocket) Addr() net.Addr { return &net.UnixAddr{Name: "none"} }
