// SPDX-License-Identifier: Apache-2.0

// Package control holds the use cases: what a call does to the domain, one
// file per family of operations, and the life cycles that run by themselves
// (endpoints becoming available, instances starting and ending).
//
// Every operation takes a Caller and plain values, runs in one store
// transaction, and returns vpc objects or a *vpc.Error. It knows no wire
// format. An object of another account answers as one that does not exist.
//
// A call that changed something returns only when every live host has applied
// the change (or settleTime has passed): what the API has said is what the
// next packet meets.
package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"postern.dev/postern/internal/authz"
	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

// settleTime bounds how long a call waits for the hosts. A host that takes
// longer is reported by `postern doctor` and keeps endpoints out of available.
const settleTime = 2 * time.Second

// Caller is who makes a call, known by the signature: the root user of an
// account, or with User or Role set a user, or a session of a role.
type Caller struct {
	Account vpc.AccountID
	Name    string // the account's name
	ARN     string // the principal, arn:aws:iam::... or arn:aws:sts::...
	UserID  string // what policies call aws:userid; "" is the root user's, the account
	User    vpc.UserID
	Role    vpc.RoleID
	// Session is set for temporary credentials.
	Session *Session
	// Source says how the call came.
	Source authz.Source
	// Operator may do what concerns the installation.
	Operator bool
	// DryRun stops the call where it would commit: it answers vpc.DryRun
	// instead, or the error it would have met.
	DryRun bool
}

// Config is what a Control needs.
type Config struct {
	Store  *store.Store
	Hosts  *Hosts
	Now    func() time.Time
	Random io.Reader // cryptographic
	Log    *slog.Logger
	// Quotas bound what accounts may make; zero fields are AWS's defaults.
	Quotas Quotas
	// PublicPool are the IPv4 blocks that Elastic IPs come from; nil is
	// DefaultPublicPool.
	PublicPool []netip.Prefix
	// IPv6Pool are the blocks that VPCs get their IPv6 blocks from; nil is
	// DefaultIPv6Pool.
	IPv6Pool []netip.Prefix
	// LocalHost is the server's own machine; "" when that has no datapath. Where
	// no other host has joined it runs the instances.
	LocalHost vpc.HostID
	// SignsIdentity says that the edges have a key to sign with who calls a backend.
	SignsIdentity bool
	// Topics are where connection notifications go; nil is nowhere.
	Topics Topics
	// TXT looks for the records that prove a service's right to its private DNS
	// name. Without it only the operator's word does (VerifyDomain).
	TXT TXTResolver
}

// TXTResolver looks TXT records up in public DNS.
type TXTResolver interface {
	// LookupTXT answers the texts of a name's records, none when there is no
	// such name or record. An error means that nobody answered, which says
	// nothing of the records. It returns soon after ctx ends.
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Control runs the operations.
type Control struct {
	Config
}

// New makes a Control; all fields of cfg are required but Quotas, PublicPool,
// IPv6Pool, LocalHost, SignsIdentity, Topics and TXT.
func New(cfg Config) *Control {
	cfg.Quotas = cfg.Quotas.withDefaults()
	if cfg.Topics == nil {
		cfg.Topics = noTopics{}
	}
	if len(cfg.PublicPool) == 0 {
		cfg.PublicPool = DefaultPublicPool
	}
	if len(cfg.IPv6Pool) == 0 {
		cfg.IPv6Pool = DefaultIPv6Pool
	}
	return &Control{cfg}
}

// View is the newest state. After an operation returned it shows its writes.
func (c *Control) View() vpc.View { return c.Store.Snapshot() }

// Region is the installation's region.
func (c *Control) Region() *vpc.Region { return RegionOf(c.View()) }

// RegionOf finds the region in any view; it is written before anything else.
func RegionOf(v vpc.View) *vpc.Region {
	r, ok := vpc.Get[vpc.Region](v, vpc.RegionKey)
	if !ok {
		return &vpc.Region{}
	}
	return r
}

// update runs fn in a transaction for caller and waits until the hosts have
// applied what it wrote.
func (c *Control) update(ctx context.Context, caller Caller, fn func(tx *store.Tx) error) error {
	rev, err := c.commit(ctx, caller, fn)
	if err != nil {
		return err
	}
	c.settle(ctx, rev)
	return nil
}

// commit is update without the wait.
func (c *Control) commit(ctx context.Context, caller Caller, fn func(tx *store.Tx) error) (vpc.Revision, error) {
	return c.Store.Update(ctx, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		if caller.DryRun {
			if err := tx.Check(); err != nil {
				return err
			}
			return vpc.Errorf(vpc.DryRun, "", "", "Request would have succeeded, but DryRun flag is set.")
		}
		return nil
	})
}

func (c *Control) settle(ctx context.Context, rev vpc.Revision) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := c.Hosts.WaitApplied(ctx, rev); err != nil {
		c.Log.Warn("answering before every host has applied the change", "revision", rev, "error", err)
	}
}

// newID makes an id with a prefix.
func (c *Control) newID(prefix string) (string, error) { return vpc.NewID(prefix, c.Random) }

// newVNI picks a free VNI. The claim of the object that gets it keeps it.
func (c *Control) newVNI(tx *store.Tx) (vpc.VNI, error) {
	for range 64 {
		var b [3]byte
		if _, err := io.ReadFull(c.Random, b[:]); err != nil {
			return 0, fmt.Errorf("read random bytes for a VNI: %w", err)
		}
		n := vpc.VNI(b[0])<<16 | vpc.VNI(b[1])<<8 | vpc.VNI(b[2])
		if n >= vpc.FirstVNI && n <= vpc.LastVNI && !tx.Claimed(vpc.VNIClaim(n)) {
			return n, nil
		}
	}
	return 0, vpc.Errorf(vpc.Limit, "vni", "", "no free network number was found; there are too many VPCs and endpoints")
}

// ownerOf is the account an object belongs to, "" for what has no owner.
func ownerOf(o vpc.Object) vpc.AccountID {
	if o, ok := o.(vpc.OwnedObject); ok {
		return o.OwnerID()
	}
	return ""
}

type object[T any] interface {
	*T
	vpc.Object
}

// Owned finds an object of the caller's account. A missing one and another
// account's are the same NotFound.
func Owned[T any, P object[T], K ~string](v vpc.View, caller Caller, id K) (P, error) {
	kind := P(nil).Kind()
	o, ok := v.Object(kind, string(id))
	if !ok || ownerOf(o) != caller.Account {
		return nil, NotFound(kind, string(id))
	}
	return o.(P), nil
}

// NotFound is the error for an unknown id; the API chooses AWS's spelling.
func NotFound(kind vpc.Kind, id string) error {
	return vpc.Errorf(vpc.NotFound, string(kind), id, "The %s ID '%s' does not exist", strings.ReplaceAll(string(kind), "-", " "), id)
}

// remembered looks a client token up. It returns the id of what the same call
// made before ("" if it is new), or TokenMismatch. Call remember in the same
// transaction after making the thing. An empty token is never remembered.
func remembered(tx *store.Tx, caller Caller, action, token string, params any) (string, error) {
	if token == "" {
		return "", nil
	}
	t, ok := vpc.Get[vpc.ClientToken](tx, vpc.TokenKey(caller.Account, action, token))
	if !ok {
		return "", nil
	}
	if t.Hash != hashOf(params) {
		return "", vpc.Errorf(vpc.TokenMismatch, "ClientToken", token, "the client token %q was used before with other parameters", token)
	}
	return t.Result, nil
}

func (c *Control) remember(tx *store.Tx, caller Caller, action, token string, params any, result string) {
	if token == "" {
		return
	}
	tx.Put(&vpc.ClientToken{Account: caller.Account, Action: action, Token: token,
		Hash: hashOf(params), Result: result, Created: c.Now()})
}

func hashOf(params any) string {
	b, err := json.Marshal(params)
	if err != nil {
		panic(fmt.Sprintf("control: parameters cannot be encoded: %v", err))
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// KindOf is the kind of a domain error, "" for any other.
func KindOf(err error) vpc.ErrorKind {
	var e *vpc.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}
