// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"postern.dev/postern/internal/store"
	"postern.dev/postern/internal/vpc"
)

var (
	// An account's name is a lower-case word, so that it cannot be taken for an id.
	accountName = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)
	accessKeyID = regexp.MustCompile(`^\w{16,128}$`)
	secretKey   = regexp.MustCompile(`^[!-~]{16,128}$`)
	domainLabel = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)
)

// installation is the caller of what the operator does to the installation
// itself; it owns nothing.
var installation = Caller{Name: "operator", Operator: true}

// CreateAccount makes an account with one access key, the given one or, when
// key is nil, a new one. The secret is in the result and nowhere else shown.
func (c *Control) CreateAccount(ctx context.Context, name string, key *vpc.AccessKey) (*vpc.Account, error) {
	var made *vpc.Account
	err := c.update(ctx, installation, func(tx *store.Tx) error {
		var err error
		made, err = c.newAccount(tx, name, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (c *Control) newAccount(tx *store.Tx, name string, key *vpc.AccessKey) (*vpc.Account, error) {
	if !accountName.MatchString(name) {
		return nil, vpc.Errorf(vpc.Invalid, "name", name, "account name %.80q must start with a lower-case letter and have at most 64 lower-case letters, digits, dots, dashes and underscores", name)
	}
	for a := range vpc.By[vpc.Account](tx, vpc.IndexName, name) {
		return nil, vpc.Errorf(vpc.Duplicate, string(vpc.KindAccount), name, "account %q exists already, it is %s", name, a.ID)
	}
	if key == nil {
		k, err := c.NewAccessKey()
		if err != nil {
			return nil, err
		}
		key = &k
	}
	if err := checkAccessKey(*key); err != nil {
		return nil, err
	}
	for a := range vpc.By[vpc.Account](tx, vpc.IndexKey, key.ID) {
		return nil, vpc.Errorf(vpc.Duplicate, "access-key", key.ID, "access key %s already belongs to account %q", key.ID, a.Name)
	}
	id, err := c.newAccountID(tx)
	if err != nil {
		return nil, err
	}
	a := &vpc.Account{ID: id, Name: name, Keys: []vpc.AccessKey{*key}, Created: c.Now()}
	tx.Put(a)
	return a, nil
}

// newAccountID picks 12 digits no account has. The first is never 0: people
// paste account ids into spreadsheets.
func (c *Control) newAccountID(tx *store.Tx) (vpc.AccountID, error) {
	for range 64 {
		n, err := rand.Int(c.Random, big.NewInt(900_000_000_000))
		if err != nil {
			return "", fmt.Errorf("read random bytes for an account id: %w", err)
		}
		id := vpc.AccountID(fmt.Sprint(n.Int64() + 100_000_000_000))
		if _, taken := vpc.Get[vpc.Account](tx, id); !taken {
			return id, nil
		}
	}
	return "", vpc.Errorf(vpc.Limit, string(vpc.KindAccount), "", "no free account id was found")
}

// NewAccessKey makes AKIA and 16 of base 32, and a secret of 40 of base 64's alphabet.
func (c *Control) NewAccessKey() (vpc.AccessKey, error) { return c.newKey(vpc.PrefixKey) }

func (c *Control) newKey(prefix string) (vpc.AccessKey, error) {
	const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	const mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	pick := func(alphabet string, n int) (string, error) {
		b := make([]byte, n)
		if _, err := io.ReadFull(c.Random, b); err != nil {
			return "", fmt.Errorf("read random bytes for an access key: %w", err)
		}
		for i := range b {
			b[i] = alphabet[int(b[i])%len(alphabet)] // both lengths divide 256
		}
		return string(b), nil
	}
	id, err := pick(upper, 16)
	if err != nil {
		return vpc.AccessKey{}, err
	}
	secret, err := pick(mixed, 40)
	if err != nil {
		return vpc.AccessKey{}, err
	}
	return vpc.AccessKey{ID: prefix + id, Secret: secret}, nil
}

func checkAccessKey(k vpc.AccessKey) error {
	if !accessKeyID.MatchString(k.ID) {
		return vpc.Errorf(vpc.Invalid, "access-key", "", "access key id %.20q must have 16 to 128 letters, digits and underscores", k.ID)
	}
	if !secretKey.MatchString(k.Secret) {
		return vpc.Errorf(vpc.Invalid, "access-key", k.ID, "the secret of access key %s must have 16 to 128 printable ASCII characters without spaces", k.ID)
	}
	return nil
}

// Accounts lists the accounts by id.
func Accounts(v vpc.View) []*vpc.Account { return slices.Collect(vpc.All[vpc.Account](v)) }

// VerifyDomain records that the operator vouches for an account's right to a
// DNS domain and all names below it. Names of the account's services that
// waited for it, or had failed, are verified at once.
func (c *Control) VerifyDomain(ctx context.Context, account vpc.AccountID, domain string) error {
	domain, err := checkDomain(domain)
	if err != nil {
		return err
	}
	return c.update(ctx, installation, func(tx *store.Tx) error {
		if _, ok := vpc.Get[vpc.Account](tx, account); !ok {
			return NotFound(vpc.KindAccount, string(account))
		}
		tx.Put(&vpc.VerifiedDomain{Account: account, Domain: domain})
		for o := range vpc.By[vpc.EndpointService](tx, vpc.IndexOwner, account) {
			s, ok := vpc.Get[vpc.EndpointService](tx, o.ID)
			if ok && s.Verification != nil && s.Verification.State != vpc.DNSVerified && vouched(tx, account, s.PrivateDNSName) {
				s = vpc.Edit(s)
				c.nameVerified(s.Verification)
				tx.Put(s)
			}
		}
		return nil
	})
}

// UnverifyDomain takes VerifyDomain back. Names that were verified by it stay
// with their services until they are verified again, which is at once where
// TXT records are looked up.
func (c *Control) UnverifyDomain(ctx context.Context, account vpc.AccountID, domain string) error {
	domain, err := checkDomain(domain)
	if err != nil {
		return err
	}
	return c.update(ctx, installation, func(tx *store.Tx) error {
		d, ok := vpc.Get[vpc.VerifiedDomain](tx, string(account)+"/"+domain)
		if !ok {
			return vpc.Errorf(vpc.NotFound, string(vpc.KindDomain), domain, "domain %s is not verified for account %s", domain, account)
		}
		tx.Delete(d)
		if c.TXT == nil {
			return nil
		}
		for o := range vpc.By[vpc.EndpointService](tx, vpc.IndexOwner, account) {
			s, ok := vpc.Get[vpc.EndpointService](tx, o.ID)
			if ok && s.Verification != nil && s.Verification.State == vpc.DNSVerified && d.Covers(s.PrivateDNSName) {
				s = vpc.Edit(s)
				s.Verification.Due = c.Now()
				tx.Put(s)
			}
		}
		return nil
	})
}

// checkDomain makes a domain name canonical.
func checkDomain(domain string) (string, error) {
	name := vpc.CanonicalName(domain)
	labels := strings.Split(name, ".")
	ok := len(name) <= 253 && len(labels) >= 2
	for _, l := range labels {
		ok = ok && domainLabel.MatchString(l)
	}
	if !ok {
		return "", vpc.Errorf(vpc.Invalid, "domain", domain, "%.260q is not a domain name such as example.com", domain)
	}
	return name, nil
}
