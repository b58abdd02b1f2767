// SPDX-License-Identifier: Apache-2.0

//go:build linux

package link

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config says for which installation devices are made.
type Config struct {
	// Tag names the installation: 4 to 6 lower-case hexadecimal digits, see TagFor.
	Tag string
	// RunDir is an own directory for files that live as long as the host is
	// up; absolute. See DefaultRunDir. Reset removes it.
	RunDir string
	// MTU of every workload device in bytes; 0 is DefaultMTU.
	MTU int
}

// DefaultMTU suits a host alone. Among several it must be OverlayOverhead less
// than the underlay's.
const DefaultMTU = 1500

// Device is a host-side device as the datapath needs it.
type Device struct {
	Name    string
	Ifindex int
	// MAC is the workload's address: what a frame delivered to it must carry
	// as its destination.
	MAC net.HardwareAddr
	// HostMAC is the host-side device's own address; nobody needs to know it
	// to reach the workload.
	HostMAC net.HardwareAddr
	// MTU in bytes.
	MTU int
	// Tap says that the device has no peer in another namespace, so delivery
	// is bpf_redirect and not bpf_redirect_peer.
	Tap bool
}

// Links makes, finds and removes the devices of one installation. Its methods
// may be called from several goroutines; those that change something take turns.
type Links struct {
	cfg Config
	mu  sync.Mutex // one writer of kernel state
}

// New checks cfg. It touches nothing.
func New(cfg Config) (*Links, error) {
	if err := checkTag(cfg.Tag); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(cfg.RunDir) || filepath.Clean(cfg.RunDir) == "/" {
		return nil, fmt.Errorf("run directory %q: give an absolute path of a directory of our own", cfg.RunDir)
	}
	cfg.RunDir = filepath.Clean(cfg.RunDir)
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	if cfg.MTU < 1280 || cfg.MTU > 65535 {
		return nil, fmt.Errorf("mtu %d: must be between 1280 and 65535", cfg.MTU)
	}
	return &Links{cfg: cfg}, nil
}

// TagFor is the tag of the installation that keeps its data in dataDir: the
// same directory gives the same tag, whatever relative path names it.
func TagFor(dataDir string) (string, error) {
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return "", fmt.Errorf("data directory %q: %w", dataDir, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:3]), nil
}

// DefaultRunDir is where an installation keeps what ends with the host's uptime.
func DefaultRunDir(tag string) string { return filepath.Join(runRoot, tag) }

const (
	runRoot    = "/run/postern"
	markerFile = ".postern-tag" // in a run directory: the tag of its owner
)

func checkTag(tag string) error {
	if len(tag) < 4 || len(tag) > 6 || strings.Trim(tag, "0123456789abcdef") != "" {
		return fmt.Errorf("installation tag %q: must be 4 to 6 lower-case hexadecimal digits", tag)
	}
	return nil
}

// ensureRunDir makes the run directory and marks it as ours, so that Reset
// can never be pointed at somebody else's directory.
func (l *Links) ensureRunDir() error {
	marker := filepath.Join(l.cfg.RunDir, markerFile)
	if b, err := os.ReadFile(marker); err == nil {
		if string(b) != l.cfg.Tag {
			return fmt.Errorf("run directory %s belongs to installation %q: give this one (%s) its own", l.cfg.RunDir, b, l.cfg.Tag)
		}
		return nil
	}
	if err := os.MkdirAll(l.cfg.RunDir, 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	if err := os.WriteFile(marker, []byte(l.cfg.Tag), 0o644); err != nil {
		return fmt.Errorf("mark run directory: %w", err)
	}
	return nil
}

var nameEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// hostName is the name of owner's host-side device: "p", the tag and 40 bits
// of a hash, at most 15 bytes, which is all that IFNAMSIZ leaves.
func hostName(tag, owner string) string {
	switch owner {
	case serviceOwner:
		return "p" + tag + "svc"
	case uplinkOwner:
		return "p" + tag + "up"
	case overlayOwner:
		return "p" + tag + "vx"
	}
	sum := sha256.Sum256([]byte(owner))
	return "p" + tag + strings.ToLower(nameEncoding.EncodeToString(sum[:5]))
}

// derivedMAC is a locally administered address made from the tag and a name.
// The host side of our pairs has it from the moment it exists, before an alias
// can be written (the kernel takes no alias when it creates a device): with
// the name it is the claim that survives being killed between the two calls.
func derivedMAC(tag, name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(tag + "|" + name))
	return net.HardwareAddr{0x02, 0x70, sum[0], sum[1], sum[2], sum[3]}
}

const aliasWord = "postern"

// alias of a device: who owns it and, once it is complete, what it holds.
type alias struct {
	tag, owner, digest string
}

func (a alias) String() string {
	s := aliasWord + " " + a.tag + " " + a.owner
	if a.digest != "" {
		s += " " + a.digest
	}
	return s
}

func parseAlias(s string) (alias, bool) {
	f := strings.Fields(s)
	if len(f) < 3 || len(f) > 4 || f[0] != aliasWord || checkTag(f[1]) != nil {
		return alias{}, false
	}
	a := alias{tag: f[1], owner: f[2]}
	if len(f) == 4 {
		a.digest = f[3]
	}
	return a, true
}

// claimed reports whether l is ours (of tag, or of any installation for "")
// and what its alias says; the owner is "" for a device that was interrupted
// before its alias was written.
func claimed(l netlink.Link, tag string) (alias, bool) {
	at := l.Attrs()
	if a, ok := parseAlias(at.Alias); ok {
		return a, tag == "" || a.tag == tag
	}
	if at.Alias != "" || l.Type() != "veth" && l.Type() != "vxlan" || !strings.HasPrefix(at.Name, "p") {
		return alias{}, false
	}
	// The tag is part of the name, but its length is not written there.
	for n := 4; n <= 6 && n+1 < len(at.Name); n++ {
		t := at.Name[1 : n+1]
		if tag != "" && t != tag || checkTag(t) != nil {
			continue
		}
		if derivedMAC(t, at.Name).String() == at.HardwareAddr.String() {
			return alias{tag: t}, true
		}
	}
	return alias{}, false
}

// dumpTries bounds how often an interrupted dump is repeated: it is
// interrupted when links change meanwhile, which ends by itself.
const dumpTries = 8

// dump runs a netlink list call until it was not interrupted by a change.
func dump[T any](list func() (T, error)) (T, error) {
	var v T
	var err error
	for range dumpTries {
		if v, err = list(); !isInterrupted(err) {
			return v, err
		}
	}
	return v, fmt.Errorf("the list changed during each of %d reads: %w", dumpTries, err)
}

// hostLinks lists the links of the current namespace.
func hostLinks() (*netlink.Handle, []netlink.Link, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, nil, fmt.Errorf("open netlink socket: %w", err)
	}
	links, err := dump(h.LinkList)
	if err != nil {
		h.Close()
		return nil, nil, fmt.Errorf("list links: %w", err)
	}
	return h, links, nil
}

// Standing is a device that was made before, or zero if it is known not to be
// there any more: a device that worked carries packets on when what would repair
// it fails.
func Standing(d Device) Device {
	k, err := netlink.LinkByIndex(d.Ifindex)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || err == nil && k.Attrs().Name != d.Name {
		return Device{}
	}
	return d
}

// deviceOf is l as the datapath needs it.
func deviceOf(l netlink.Link, inside net.HardwareAddr) Device {
	at := l.Attrs()
	return Device{Name: at.Name, Ifindex: at.Index, MAC: inside, HostMAC: at.HardwareAddr, MTU: at.MTU, Tap: l.Type() == "tuntap"}
}
