// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern.dev/postern/internal/catalogue"
	"postern.dev/postern/internal/control"
	"postern.dev/postern/internal/desired"
	"postern.dev/postern/internal/edge/caller"
	"postern.dev/postern/internal/notify"
	"postern.dev/postern/internal/vpc"
	"postern.dev/postern/internal/yamlfile"
)

// Config is the whole configuration of `postern serve`. A file given with
// --config holds it as YAML with these names; flags override the file.
type Config struct {
	// DataDir is where everything is kept; one server per directory.
	DataDir string `json:"dataDir,omitempty"`
	// Listen is the address of the API, host:port. Clients sign the host and
	// port they use, so a proxy in front must keep them.
	Listen string `json:"listen,omitempty"`
	// Region is the one region of the installation. It cannot change later.
	Region string `json:"region,omitempty"`
	// Zones are the availability zones: the region and a letter each.
	Zones []string `json:"zones,omitempty"`
	// Datapath is "ebpf", or "none" to serve the API alone (no root, any OS).
	Datapath string `json:"datapath,omitempty"`
	// Store is "embedded", or the URLs of an etcd cluster, comma-separated.
	Store string `json:"store,omitempty"`
	// DNSUpstreams are resolvers (address or address:port) for names Postern
	// does not know, and for the TXT records that prove a service's right to its
	// private DNS name. Absent: the host's own from /etc/resolv.conf. "none":
	// such names are refused, and only the operator vouches for domains.
	DNSUpstreams []string `json:"dnsUpstreams,omitempty"`
	// DNSPacketsPerSecond is how many packets an interface may send to the
	// resolver, 1 to 1000000; 1024 if absent, as in AWS. `postern drops` counts
	// those above it.
	DNSPacketsPerSecond int `json:"dnsPacketsPerSecond,omitempty"`
	// DNSHostTargets are addresses of hosts that tenants' forward rules may lead
	// to, such as that of a resolver which the operator runs there for them.
	// Absent: none, a rule does not reach the host that sends its questions.
	DNSHostTargets []string `json:"dnsHostTargets,omitempty"`
	// MTU of workloads' interfaces in bytes, 576 to 9001; 1500 if absent.
	MTU int `json:"mtu,omitempty"`
	// Uplink is what internet and NAT gateways lead to: "none", also if absent;
	// "host", the host's own network; or the path of a network namespace.
	Uplink string `json:"uplink,omitempty"`
	// HostsListen is where hosts on other machines connect, host:port. Absent:
	// there are none. Hosts know the server by certificate, whatever the address.
	HostsListen string `json:"hostsListen,omitempty"`
	// Underlay is this machine's IPv4 address among hosts. Absent: it exchanges
	// no packets with others.
	Underlay string `json:"underlay,omitempty"`
	// HostZone is the zone of this machine. Absent: it is for zones that have no
	// host of their own.
	HostZone string `json:"hostZone,omitempty"`
	// ServerUser and EdgeUser are the users the unprivileged processes run
	// as, when serve is started as root: names or numbers. Absent: "postern"
	// and "postern-edge" if the system has them, else numbers of their own.
	ServerUser string `json:"serverUser,omitempty"`
	EdgeUser   string `json:"edgeUser,omitempty"`
	// Services is the catalogue: what there is besides customers' own
	// services. ServicesFile is a file with more of them, under the same name.
	// Absent both: S3 with the backend that comes with Postern.
	Services     []catalogue.Entry `json:"services,omitempty"`
	ServicesFile string            `json:"servicesFile,omitempty"`
	// IdentityKeyFile has the Ed25519 private key (PKCS #8, PEM) that signs what
	// backends of services with identity "header" are told. The user who starts
	// the server must be allowed to read it. IdentityKey is the key itself, which
	// stands for a file's.
	IdentityKeyFile string `json:"identityKeyFile,omitempty"`
	IdentityKey     string `json:"identityKey,omitempty"`
	// PublicPool are the IPv4 blocks that Elastic IPs come from. Absent:
	// 192.0.2.0/24. An address in use stays when the pool changes.
	PublicPool []string `json:"publicPool,omitempty"`
	// IPv6Pool are the IPv6 blocks of which VPCs get a /56 each. Absent:
	// 2001:db8:8000::/34. A block in use stays when the pool changes. No two
	// installations that reach each other may have the same.
	IPv6Pool []string `json:"ipv6Pool,omitempty"`
	// ProxyProtocolLayout is whose layout of an endpoint's id is in the PROXY
	// protocol headers that targets get: aws, azure or alibaba. Absent: aws.
	ProxyProtocolLayout string `json:"proxyProtocolLayout,omitempty"`
	// Quotas bound what one account may make. What is absent is AWS's default.
	Quotas control.Quotas `json:"quotas,omitempty"`
	// Topics are where connection notifications can go. The first that fits
	// an ARN is its topic.
	Topics []TopicConfig `json:"topics,omitempty"`
	// Audit says where the record of API calls is kept.
	Audit AuditConfig `json:"audit,omitzero"`

	// written says where each of Services is in a file; nil for none.
	written []place
}

// AuditConfig is the record of API calls: one JSON object on a line for each.
type AuditConfig struct {
	// File is an absolute path in a directory the server's user may write.
	// Absent: audit/audit.jsonl in the data directory.
	File string `json:"file,omitempty"`
	// MaxSizeMB is the size at which the file is put aside; 100 if absent.
	MaxSizeMB int `json:"maxSizeMB,omitempty"`
	// Keep is how many files that were put aside are kept; 5 if absent.
	Keep int `json:"keep,omitempty"`
	// Off keeps no record.
	Off bool `json:"off,omitempty"`
}

// check completes and validates.
func (a *AuditConfig) check(p paths) error {
	if a.File == "" {
		a.File = p.audit()
	}
	if a.MaxSizeMB == 0 {
		a.MaxSizeMB = 100
	}
	if a.Keep == 0 {
		a.Keep = 5
	}
	if !filepath.IsAbs(a.File) || strings.HasSuffix(a.File, "/") {
		return fmt.Errorf("audit.file %q: want the absolute path of a file", a.File)
	}
	if a.MaxSizeMB < 1 || a.MaxSizeMB > 100_000 {
		return fmt.Errorf("audit.maxSizeMB %d: want 1 to 100000", a.MaxSizeMB)
	}
	if a.Keep < 1 || a.Keep > 1000 {
		return fmt.Errorf("audit.keep %d: want 1 to 1000; audit.off keeps no record at all", a.Keep)
	}
	return nil
}

// TopicConfig is a topic of connection notifications, or several. A file with
// secrets in it should be readable by its owner only.
type TopicConfig struct {
	// ARN is a topic's, or the start of several topics' and a * at the end.
	ARN string `json:"arn"`
	// Accounts are the ids of those who may use it; "*" is everybody. Absent:
	// the account in the topic's ARN.
	Accounts []string `json:"accounts,omitempty"`
	// Type is sns (any server with SNS's API), webhook or file.
	Type string `json:"type"`
	// URL is that of SNS or of the webhook.
	URL string `json:"url,omitempty"`
	// Region is what requests to SNS are signed for; absent: the topic's.
	Region string `json:"region,omitempty"`
	// AccessKey and SecretKey sign requests to SNS. They need sns:Publish and
	// sns:GetTopicAttributes.
	AccessKey string `json:"accessKey,omitempty"`
	SecretKey string `json:"secretKey,omitempty"`
	// Secret signs requests to a webhook; at least 16 characters.
	Secret string `json:"secret,omitempty"`
	// Path is that of a file, absolute. The server's user must be allowed to
	// write it.
	Path string `json:"path,omitempty"`
}

// defaultConfig is what a bare `postern serve` runs with.
func defaultConfig() Config {
	return Config{Listen: "127.0.0.1:8420", Region: "us-east-1", Datapath: "ebpf", Store: "embedded", MTU: 1500}
}

// loadConfig reads a file over the defaults; unknown names are errors.
func loadConfig(file string, c *Config) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	c.Services = nil
	lines, err := yamlfile.Decode(file, b, c)
	if err != nil {
		return err
	}
	return c.readServices(file, lines, c.Services)
}

var regionName = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-\d$`)

// maxDataDir leaves room for the sockets' names within the 107 bytes a unix
// socket's path may have.
const maxDataDir = 80

// check completes and validates a configuration.
func (c *Config) check() error {
	abs, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("data directory %q: %w", c.DataDir, err)
	}
	c.DataDir = abs
	if len(c.DataDir) > maxDataDir {
		return fmt.Errorf("data directory %s: at most %d characters, since unix sockets are kept in it", c.DataDir, maxDataDir)
	}
	if !regionName.MatchString(c.Region) {
		return fmt.Errorf("region %q: want a name such as us-east-1", c.Region)
	}
	if len(c.Zones) == 0 {
		c.Zones = []string{c.Region + "a", c.Region + "b", c.Region + "c"}
	}
	for i, z := range c.Zones {
		rest, ok := strings.CutPrefix(z, c.Region)
		if !ok || len(rest) != 1 || rest[0] < 'a' || rest[0] > 'z' || slices.Contains(c.Zones[:i], z) {
			return fmt.Errorf("zone %q: want the region %s and one letter, each once", z, c.Region)
		}
	}
	if !listenAddr(c.Listen) {
		return fmt.Errorf("listen %q: want an address and a port, such as 127.0.0.1:8420", c.Listen)
	}
	if c.HostsListen != "" && !listenAddr(c.HostsListen) {
		return fmt.Errorf("hostsListen %q: want an address and a port, such as 192.0.2.1:8421", c.HostsListen)
	}
	if c.HostZone != "" && !slices.Contains(c.Zones, c.HostZone) {
		return fmt.Errorf("hostZone %q: want one of the zones %s", c.HostZone, strings.Join(c.Zones, ", "))
	}
	if _, err := c.underlay(); err != nil {
		return err
	}
	if c.Datapath != "ebpf" && c.Datapath != "none" {
		return fmt.Errorf("datapath %q: want ebpf or none", c.Datapath)
	}
	if c.MTU < 576 || c.MTU > 9001 {
		return fmt.Errorf("mtu %d: want 576 to 9001", c.MTU)
	}
	if c.DNSPacketsPerSecond < 0 || c.DNSPacketsPerSecond > 1_000_000 {
		return fmt.Errorf("dnsPacketsPerSecond %d: want 1 to 1000000", c.DNSPacketsPerSecond)
	}
	if _, err := c.dnsHostTargets(); err != nil {
		return err
	}
	switch desired.ProxyLayout(c.ProxyProtocolLayout) {
	case "", desired.ProxyAWS, desired.ProxyAzure, desired.ProxyAlibaba:
	default:
		return fmt.Errorf("proxyProtocolLayout %q: want aws, azure or alibaba", c.ProxyProtocolLayout)
	}
	if on, _, err := uplinkPlace(c.Uplink); err != nil {
		return err
	} else if on && c.Datapath == "none" {
		return fmt.Errorf("uplink %q: no packet moves with datapath none, so nothing can lead there", c.Uplink)
	}
	if c.Store != "embedded" {
		for _, u := range strings.Split(c.Store, ",") {
			if !strings.Contains(u, "://") {
				return fmt.Errorf("store %q: want embedded, or etcd URLs such as https://e1:2379,https://e2:2379", c.Store)
			}
		}
	}
	if err := c.Quotas.Check(); err != nil {
		return err
	}
	if err := c.Audit.check(paths{c.DataDir}); err != nil {
		return err
	}
	if _, err := c.topics(slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if len(c.Services) == 0 {
		c.Services = catalogue.Default()
	}
	if err := c.loadIdentityKey(); err != nil {
		return err
	}
	if _, err := c.publicPool(); err != nil {
		return err
	}
	if _, err := c.ipv6Pool(); err != nil {
		return err
	}
	_, err = c.catalogue()
	return err
}

// loadIdentityKey reads the key's file and checks the key.
func (c *Config) loadIdentityKey() error {
	if c.IdentityKeyFile != "" && c.IdentityKey == "" {
		b, err := os.ReadFile(c.IdentityKeyFile)
		if err != nil {
			return fmt.Errorf("identityKeyFile: %w", err)
		}
		c.IdentityKey = string(b)
	}
	if c.IdentityKey == "" {
		return nil
	}
	if _, err := caller.ParseKey([]byte(c.IdentityKey)); err != nil {
		return fmt.Errorf("identityKeyFile %s: %w", c.IdentityKeyFile, err)
	}
	return nil
}

// listenAddr reports whether an address can be listened on.
func listenAddr(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && port != "" && (host == "" || host == "localhost" || net.ParseIP(host) != nil)
}

// dnsHostTargets reads the hosts' addresses that forward rules may lead to.
func (c *Config) dnsHostTargets() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range c.DNSHostTargets {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || !a.Unmap().IsGlobalUnicast() {
			return nil, fmt.Errorf("dnsHostTargets %q: want an address of a host that others reach, such as 192.0.2.53; loopback and link-local ones are never asked", s)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}

// underlay reads this machine's address among hosts; invalid for none.
func (c *Config) underlay() (netip.Addr, error) {
	a, err := parseUnderlay(c.Underlay)
	if err == nil && a.IsValid() && c.Datapath == "none" {
		err = fmt.Errorf("underlay %s: no packet moves with datapath none", a)
	}
	return a, err
}

func parseUnderlay(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !vpc.ValidUnderlay(a) {
		return netip.Addr{}, fmt.Errorf("underlay %q: want the IPv4 address of this machine among hosts, such as 192.0.2.1", s)
	}
	return a, nil
}

// uplinkPlace reads the setting uplink: whether there is one, and the path of
// the namespace it leads to, "" for the host's own.
func uplinkPlace(setting string) (on bool, netns string, err error) {
	switch {
	case setting == "" || setting == "none":
		return false, "", nil
	case setting == "host":
		return true, "", nil
	case filepath.IsAbs(setting) && !strings.HasSuffix(setting, "/"):
		return true, setting, nil
	}
	return false, "", fmt.Errorf("uplink %q: want none, host, or the absolute path of a network namespace such as /run/netns/outside", setting)
}

// publicPool reads the blocks that Elastic IPs come from.
func (c *Config) publicPool() ([]netip.Prefix, error) {
	if len(c.PublicPool) == 0 {
		return control.DefaultPublicPool, nil
	}
	var out []netip.Prefix
	for _, s := range c.PublicPool {
		p, err := netip.ParsePrefix(s)
		if err != nil || !p.Addr().Is4() || p != p.Masked() || p.Bits() < 8 {
			return nil, fmt.Errorf("publicPool %q: want an IPv4 network of /8 to /32, such as 192.0.2.0/24", s)
		}
		if slices.ContainsFunc(out, p.Overlaps) {
			return nil, fmt.Errorf("publicPool %s overlaps another block of the pool", p)
		}
		out = append(out, p)
	}
	return out, nil
}

// unusable6 are IPv6 addresses that no interface can have: what is not
// forwarded, IPv4 in IPv6, and AWS's own.
var unusable6 = []netip.Prefix{
	netip.MustParsePrefix("::/8"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fd00:ec2::/32"),
}

// ipv6Pool reads the blocks that VPCs get their IPv6 blocks from.
func (c *Config) ipv6Pool() ([]netip.Prefix, error) {
	if len(c.IPv6Pool) == 0 {
		return control.DefaultIPv6Pool, nil
	}
	var out []netip.Prefix
	for _, s := range c.IPv6Pool {
		p, err := netip.ParsePrefix(s)
		if err != nil || !p.Addr().Is6() || p != p.Masked() || p.Bits() < 16 || p.Bits() > vpc.VPCBits6 {
			return nil, fmt.Errorf("ipv6Pool %q: want an IPv6 network of /16 to /%d, such as 2001:db8:8000::/34", s, vpc.VPCBits6)
		}
		if slices.ContainsFunc(unusable6, p.Overlaps) {
			return nil, fmt.Errorf("ipv6Pool %s holds addresses that no interface can have", p)
		}
		if slices.ContainsFunc(out, p.Overlaps) {
			return nil, fmt.Errorf("ipv6Pool %s overlaps another block of the pool", p)
		}
		out = append(out, p)
	}
	return out, nil
}

// topics makes what stands behind the configured topics.
func (c *Config) topics(log *slog.Logger) (*notify.Topics, error) {
	var rules []notify.Rule
	for _, t := range c.Topics {
		rules = append(rules, notify.Rule(t))
	}
	return notify.New(rules, log, time.Now)
}

// zones gives the zones their ids, as AWS forms them: us-east-1a is use1-az1.
func (c *Config) zones() []vpc.Zone {
	p := strings.Split(c.Region, "-")
	short := p[0]
	for _, w := range p[1 : len(p)-1] {
		short += w[:1]
	}
	short += p[len(p)-1]
	var out []vpc.Zone
	for i, z := range c.Zones {
		out = append(out, vpc.Zone{Name: z, ID: fmt.Sprintf("%s-az%d", short, i+1)})
	}
	return out
}
